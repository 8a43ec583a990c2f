// Goal: what the journal cannot keep is named exactly, and what is wrong with its file is said.
// Method: real processes over TLS at delivery = stored; rows, gaps and ends in the collector's file
// are laid side by side, number by number.

import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { allReceipted, allStored, begin, breakerIs, emittedMore, missing, rowsByN, scenario, spilled }
  from './scenario.mjs'
import { scale, until } from './world.mjs'

// Rows and gaps of one run: every number from its first to the end of the last, in one of them.
function partition(w, epoch) {
  const seqs = new Set(w.query('SELECT seq FROM monitoring_events WHERE epoch = ?', epoch)
    .map((row) => row.seq))
  const inGaps = new Set()
  for (const gap of w.gaps().filter((one) => one.epoch === epoch)) {
    for (let seq = gap.first; seq <= gap.last; seq++) {
      assert.ok(!inGaps.has(seq), `seq ${seq} is in two gaps`)
      assert.ok(!seqs.has(seq), `seq ${seq} is stored and in a gap`)
      inGaps.add(seq)
    }
  }
  return { seqs, inGaps }
}

const tiny = {
  journal: { bytes: '64 KiB', block_bytes: '4 KiB' },
  events: { bytes_max: 1024 },
  agent: { status_s: 0 },
}

// Until the agent holds nothing any more and its gaps are confirmed.
async function settled(w) {
  const tally = await w.source.hold()
  assert.equal(tally.unanswered + tally.refused, 0)
  const s = await until(async () => {
    const now = await w.status()
    return now.events.held === 0 && now.events.held_earlier_runs === 0 &&
      now.journal.gaps_unconfirmed === 0 && now.journal.ends_unconfirmed === 0 && now
  }, 'the agent holds nothing and its gaps are confirmed')
  const { seqs, inGaps } = partition(w, rowsByN(w).get(0).epoch)
  const gone = missing(w)
  for (const { n, seq } of gone) {
    assert.ok(inGaps.has(seq), `event ${n} (seq ${seq}) is missing and in no gap`)
  }
  console.log(`  ${tally.accepted} answered, ${gone.length} missing, gaps name ${inGaps.size}: ` +
    `${[...new Set(w.gaps().map((gap) => `${gap.reason} ${gap.kind}`))]}`)
  return { s, seqs, inGaps, gone }
}

scenario('journal full: the gap is what is missing, number by number', async (w) => {
  await begin(w, { settings: tiny, source: { rate: 1000, pad: 100 } })
  await emittedMore(w, 50)
  await settled(w) // nothing is under way
  await w.proxy.link('refuse')
  await w.proxy.link('reset')
  await breakerIs(w, 'open')
  await w.source.resume()
  await emittedMore(w, 1500)
  await w.source.hold()
  await spilled(w)
  await w.proxy.link('clear')
  await w.agentReady()
  await w.source.resume()
  await emittedMore(w, 50)
  const { s, seqs, inGaps, gone } = await settled(w)
  assert.ok(gone.length > 500)
  assert.equal(inGaps.size, gone.length)
  assert.equal(s.events.lost, gone.length)
  assert.equal(s.events.uncertain, 0)
  assert.equal(seqs.size, s.events.delivered)
  assert.equal(seqs.size + inGaps.size, s.events.emitted)
  assert.ok(w.gaps().every((gap) => gap.reason === 'overflow' && gap.kind === 'lost'))
})

// What was under way when the link went is overwritten too, but may have arrived.
scenario('journal full behind a blackhole: what arrived after all beats its gap', async (w) => {
  await begin(w, { settings: tiny, source: { rate: 100 * scale, pad: 100 } })
  await emittedMore(w, 50)
  await w.proxy.link('blackhole') // what is in it comes out again
  await breakerIs(w, 'open')
  await emittedMore(w, 1500)
  await w.source.hold()
  await spilled(w)
  await w.proxy.link('clear')
  await w.agentReady()
  await w.source.resume()
  await emittedMore(w, 50)
  const { s, seqs, inGaps, gone } = await settled(w)
  assert.equal(inGaps.size, gone.length)
  assert.equal(seqs.size + inGaps.size, s.events.emitted)
  assert.ok(s.events.uncertain > 0)
  assert.ok(s.events.lost <= inGaps.size && inGaps.size <= s.events.lost + s.events.uncertain)
  assert.ok(w.gaps().every((gap) => gap.reason === 'overflow'))
})

// The ring laps over and over while the link is bad and nobody knows it yet: what was sent and what was
// not alternate, so the gaps do not merge, and their slots run out. Then the door is shut, which is
// when somebody asks why.
scenario('a door shut by a full journal still answers questions, and opens again', async (w) => {
  await begin(w, {
    settings: {
      ...tiny,
      server: { heartbeat_ms: 50000 },
      delivery: { ack_timeout_ms: 60000 },
      queue: { bytes: '96 KiB' },
    },
    source: { rate: 20 * scale, pad: 700 },
  })
  await w.proxy.link('blackhole')
  await until(() => w.source.tally.emitted > 200, 'events come in')
  let last = { emitted: -1, at: 0 }
  const s = await until(async () => {
    const { emitted } = w.source.tally
    if (emitted !== last.emitted) { last = { emitted, at: Date.now() } }
    return Date.now() - last.at > 1000 && w.status()
  }, 'the door is shut and status answers')
  assert.ok(s.journal.gaps_unconfirmed >= 7)
  assert.equal(await w.status().then((again) => again.events.emitted), s.events.emitted)
  await w.proxy.link('clear')
  await emittedMore(w, 100)
  const { gone } = await settled(w)
  assert.ok(gone.length > 0)
}, { within: 90 })

scenario('a second agent on the same journal is refused and told who has it', async (w) => {
  await begin(w)
  const first = w.agent
  const second = await w.configure(w.proxy.port,
    { inputs: { seqpacket: w.file('second.sock') } }, 'second')
  w.startAgent(second)
  assert.equal(await w.agent.exited, 2)
  assert.match(w.agent.text, new RegExp(`\\b${first.child.pid}\\b`))
  assert.ok(first.alive)
  w.agent = first
  w.agentConfig = w.file('agent.ini')
  await emittedMore(w, 60)
  await allStored(w)
})

// Everything spilled, then the agent is stopped, so that its file can be looked at.
async function spilledFile(w, settings) {
  await begin(w, { settings })
  await emittedMore(w, 20)
  await w.proxy.link('blackhole')
  await breakerIs(w, 'open')
  await emittedMore(w, 600)
  await w.source.hold()
  await spilled(w)
  await w.agent.end('SIGKILL')
  return w.file('state/journal.ptl')
}

// Where the events' texts are in the file.
function texts(bytes) {
  const places = []
  for (let at = bytes.indexOf('"n":'); at >= 0; at = bytes.indexOf('"n":', at + 1)) {
    places.push(at)
  }
  return places
}

// Flips a bit in the text of each of `count` events, here and there.
function damage(file, count) {
  const bytes = readFileSync(file)
  const places = texts(bytes)
  for (let i = 0; i < count; i++) {
    bytes[places[Math.floor((i + 0.5) * places.length / count)] + 4] ^= 0x40
  }
  writeFileSync(file, bytes)
}

scenario('flipped bits in the journal: the agent starts and declares each event', async (w) => {
  const file = await spilledFile(w)
  const flipped = 12
  damage(file, flipped)
  await w.proxy.link('clear')
  w.startAgent(w.agentConfig)
  await w.agentReady()
  await w.source.resume()
  await emittedMore(w, 50)
  const { s, gone } = await settled(w)
  assert.ok(gone.length > 0 && gone.length <= flipped)
  assert.ok(s.journal.damaged > 0)
  assert.ok(w.gaps().every((gap) => gap.reason === 'damaged'))
})

scenario('rubbish all over the journal: it starts, and rows, gaps and ends cover it', async (w) => {
  const file = await spilledFile(w)
  const bytes = readFileSync(file)
  const places = texts(bytes) // the file's own header stays
  const step = Math.floor((places.at(-1) - places[0]) / 16)
  for (let at = places[0]; at <= places.at(-1); at += step) { bytes.fill(0x5a, at, at + 150) }
  writeFileSync(file, bytes)
  await w.proxy.link('clear')
  w.startAgent(w.agentConfig)
  await w.agentReady()
  await w.source.resume()
  await emittedMore(w, 50)
  await w.source.hold()
  await until(async () => {
    const now = await w.status()
    return now.events.held === 0 && now.events.held_earlier_runs === 0 &&
      now.journal.gaps_unconfirmed === 0 && now.journal.ends_unconfirmed === 0
  }, 'the agent holds nothing')
  const told = w.source.answers()
  await until(() => rowsByN(w).has(told.at(-1).n), 'the last event is stored')
  const gone = missing(w)
  const ends = w.ends()
  console.log(`  ${told.length} answered, ${gone.length} missing, ${w.gaps().length} gaps, ends: ` +
    `${JSON.stringify(ends.map((end) => [end.how, end.next, end.at_most]))}`)
  assert.ok(gone.length > 0)
  for (const { n, seq } of gone) {
    assert.ok(w.gaps().some((gap) => seq >= gap.first && seq <= gap.last) ||
      ends.some((end) => end.how === 'torn' && seq >= end.next), `event ${n} (seq ${seq}) vanished`)
  }
})

scenario('a journal file that is something else: said loudly, and left alone', async (w) => {
  writeFileSync(w.file('notes.txt'), 'dear diary\n'.repeat(20000))
  await begin(w, { settings: { journal: { file: w.file('notes.txt') } } })
  assert.match(w.agent.text, /error: .*notes\.txt is not a Petrel journal/)
  assert.equal((await w.status()).journal.mounted, false)
  await emittedMore(w, 60)
  await allStored(w)
  assert.equal(readFileSync(w.file('notes.txt'), 'utf8'), 'dear diary\n'.repeat(20000))
})

scenario('order = strict: replay first, then what is new', async (w) => {
  await begin(w, { settings: { delivery: { order: 'strict' } } })
  await emittedMore(w, 60)
  await w.proxy.link('blackhole')
  await spilled(w)
  await emittedMore(w, 200)
  await w.proxy.link('clear')
  await allStored(w)
  await allReceipted(w)
  const rows = w.query(`SELECT seq FROM monitoring_events WHERE event_type = 'demo.tick'
    ORDER BY rowid`).map((row) => row.seq)
  assert.deepEqual(rows, rows.toSorted((a, b) => a - b))
})
