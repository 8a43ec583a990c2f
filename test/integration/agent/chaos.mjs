// Goal: whatever fails in whatever order, an answered event is stored, or named by a gap or a torn
// end; at `sync` it is stored. Method: a seeded sequence of faults of link, server, collector and
// agent over real TLS at delivery = stored while petrel-source sends; then everything is mended and
// each answer is looked up. PETREL_SEED=N PETREL_ROUNDS=N for another and longer sequence.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { begin, emittedMore, missing, rowsByN, scenario } from './scenario.mjs'
import { until } from './world.mjs'

const seed = Number(process.env.PETREL_SEED ?? 1)
const rounds = Number(process.env.PETREL_ROUNDS ?? 12)
const RUN = 2 ** 29

// mulberry32
function random(state) {
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}

const faults = {
  blackhole: (w) => w.proxy.link('blackhole'),
  refuse: (w) => w.proxy.link('refuse'),
  reset: (w) => w.proxy.link('reset'),
  halfopen: (w) => w.proxy.link('halfopen client'),
  mended: (w) => w.proxy.link('clear'),
  'delivering again': async (w) => {
    await w.proxy.link('clear')
    await w.agentReady()
  },
  'server killed': async (w) => {
    await w.server.end('SIGKILL')
    await w.startServer()
  },
  'collector killed': async (w) => {
    await w.collector.end('SIGKILL')
    await w.startCollector()
  },
  'agent killed': async (w) => {
    await w.agent.end('SIGKILL')
    w.startAgent(w.agentConfig)
    await until(() => w.status(), 'the agent answers')
  },
}

async function storm(w, pick) {
  const names = Object.keys(faults)
  const done = []
  for (let i = 0; i < rounds; i++) {
    const name = names[pick(names.length)]
    done.push(name)
    await faults[name](w)
    await emittedMore(w, 20 + pick(100))
  }
  console.log(`  seed ${seed}: ${done.join(', ')}`)
}

async function settled(w) {
  await w.proxy.link('clear')
  await w.agentReady()
  await w.source.hold()
  await until(async () => {
    const s = await w.status()
    return s && s.events.held === 0 && s.events.held_earlier_runs === 0 &&
      s.journal.gaps_unconfirmed === 0 && s.journal.ends_unconfirmed === 0
  }, 'the agent holds nothing')
  const last = w.source.answers().findLast(({ seq }) => seq !== null)
  await until(() => rowsByN(w).has(last.n), 'the last event is stored')
}

const run = (seq) => Math.floor(seq / RUN)
const covers = (end, seq) => end.how === 'torn' && seq >= end.from_seq && run(seq) <= run(end.next)

for (const durability of ['spill', 'sync']) {
  scenario(`a storm of faults at ${durability}`, async (w, t) => {
    const state = mkdtempSync(join(dirname(dirname(dirname(w.bin.petrel))), 'e2e-state-')) // a disk
    t.after(() => rmSync(state, { recursive: true, force: true }))
    await begin(w, { settings: { delivery: { durability }, agent: { state_dir: state } } })
    await storm(w, random(seed))
    await settled(w)
    const gone = missing(w)
    const torn = w.ends().filter((end) => end.how === 'torn')
    const inGaps = gone.filter(({ seq }) => w.gaps().some((g) => seq >= g.first && seq <= g.last))
    const inEnds = gone.filter(({ seq }) => torn.some((end) => covers(end, seq)))
    const { emitted, accepted, unanswered, refused } = w.source.tally
    console.log(`  ${emitted} emitted, ${accepted} answered, ${unanswered} not, ${gone.length} missing: ` +
      `${inGaps.length} in gaps, ${inEnds.length} in ${torn.length} torn ends; ` +
      `${w.duplicates()} came twice`)
    assert.equal(refused, 0)
    for (const { n, seq } of gone) {
      assert.ok(w.gaps().some((g) => seq >= g.first && seq <= g.last) ||
        torn.some((end) => covers(end, seq)), `event ${n} (seq ${seq}) vanished`)
    }
    for (const end of torn) {
      assert.ok(gone.filter(({ seq }) => covers(end, seq)).length <= end.at_most)
    }
    if (durability === 'sync') {
      assert.deepEqual(gone, [])
      assert.deepEqual(torn, [])
    }
  }, { within: 120 })
}
