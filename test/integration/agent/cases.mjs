// Goal: JSON that others choke on goes through the whole chain or is refused at its door: NUL
// escapes, doubled and escaped keys, numbers that a database or a browser cannot hold. What is
// refused has a reason and a byte, is counted, and costs no other event; what is accepted is in the
// SQLite file byte for byte; a resend cut differently is a duplicate and never a conflict, while
// other content under the same identity is one. Method: the lines of test/data/json on standard
// input at delivery = stored, real processes over TLS; receipts and acknowledgements are lost on
// the way and the collector is killed; a forged batch comes from a client of the test's own.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { scenario } from './scenario.mjs'
import { startWire } from './wire.mjs'
import { pause, until } from './world.mjs'

// Lines of a file of test/data/json with the byte at which each is refused, null where it passes:
// the same bytes that the unit test of the door names.
function lines(name, ...refusedAt) {
  const text = readFileSync(new URL(`../../data/json/${name}.jsonl`, import.meta.url), 'utf8')
  const all = text.split('\n').slice(0, -1)
  assert.equal(all.length, refusedAt.length)
  return all.map((line, i) => ({ line, at: refusedAt[i] }))
}

const accepted = (file) => file.filter(({ at }) => at === null)
const refused = (file) => file.filter(({ at }) => at !== null)

// The bytes of `data` in a line whose last member it is.
const dataOf = (line) => /"data":\s*(\{.*\})\s*\}$/.exec(line)[1]

async function beginPiped(w) {
  await w.startServer()
  w.proxy = await w.startProxy()
  await w.startCollector()
  w.startAgent(await w.configure(w.proxy.port, {
    inputs: { stdin: 'yes' },
    agent: { status_s: 0 }, // no event but those of the test
  }), { stdin: 'pipe' })
  await w.agentReady()
}

const write = (w, file) =>
  w.agent.child.stdin.write(file.map(({ line }) => `${line}\n`).join(''))

const rows = (w) => w.query(`SELECT epoch, seq, boot, mono_ms, event_type, source, data, metadata
  FROM monitoring_events ORDER BY seq`)

const counter = (w, name) => w.count(
  'SELECT coalesce(sum(value), 0) FROM monitoring_counters WHERE name = ?', name)

// Everything that was accepted so far is stored and receipted, and stays so: nothing is held, no
// age grows.
async function settled(w, emitted, rejected) {
  const quiet = (s) => s.events.held === 0 && s.events.oldest_ms === 0
  await until(() => rows(w).length === emitted, `${emitted} events stored`)
  await until(async () => quiet(await w.status()), 'nothing is held')
  await pause(300)
  const s = await w.status()
  assert.ok(quiet(s), `held ${s.events.held}, oldest ${s.events.oldest_ms} ms`)
  assert.equal(s.events.emitted, emitted)
  assert.equal(s.events.delivered, emitted)
  assert.equal(s.events.lost + s.events.uncertain, 0)
  assert.equal(s.events.rejected, rejected)
}

// Standard input says its first refusal in the log (the next ones of these seconds are counted
// there); `petrel emit` prints each, and must judge alike.
async function refusedByEmit(w, file) {
  for (const { line, at } of refused(file)) {
    const said = await new Promise((resolve) => {
      execFile(w.bin.petrel, ['emit', '--json', line, '-c', w.agentConfig], { env: w.env },
        (error, out, err) => resolve({ code: error?.code ?? 0, err }))
    })
    assert.equal(said.code, 1, line)
    assert.match(said.err, new RegExp(`refused: \\S.* \\(byte ${at}\\)`), line)
  }
}

async function ended(w, { emitted, rejected }) {
  w.agent.child.stdin.end()
  assert.equal(await w.agent.exited, 0)
  assert.match(w.agent.text, new RegExp(`${emitted} events emitted, ${emitted} delivered, 0 held, ` +
    `0 lost, 0 uncertain, ${rejected} rejected`))
  assert.deepEqual(w.gaps(), [])
}

scenario('NUL escapes: refused at the door one by one, the others stored', async (w) => {
  const file = lines('r01_nul', null, 59, 46, 58, 69, 18, 38, null, null)
  await beginPiped(w)
  write(w, file)
  await settled(w, 3, 6)
  assert.deepEqual(rows(w).map((row) => [row.event_type, row.source, row.data, row.metadata]), [
    ['before', 't', '{"n":1}', null],
    ['literal_backslash_not_nul', 't', '{"path":"C:\\\\u0000dir"}', null],
    ['after', 't', '{"n":2}', null],
  ])
  assert.match(w.agent.text, /stdin line 2 refused: \S.* \(byte 59\)/)
  await refusedByEmit(w, file)
  await settled(w, 3, 12)
  await ended(w, { emitted: 3, rejected: 12 })
  assert.equal(w.count('SELECT count(*) FROM monitoring_events'), 3)
})

scenario('numbers out of range: refused at the door, the others stored as they are', async (w) => {
  const file = lines('r39_numbers', 51, 66, 56, 58, null, null, null, 50, null)
  await beginPiped(w)
  write(w, file)
  await settled(w, 4, 5)
  assert.deepEqual(rows(w).map((row) => [row.event_type, row.data]),
    accepted(file).map(({ line }) => [JSON.parse(line).event_type, dataOf(line)]))
  assert.match(w.agent.text, /stdin line 1 refused: \S.* \(byte 51\)/)
  await refusedByEmit(w, file)
  await settled(w, 4, 10)
  await ended(w, { emitted: 4, rejected: 10 })
})

scenario('a resend after a restart of the collector, cut differently, conflicts with nothing',
  async (w, t) => {
    const file = lines('r14_pairs', null, null, null, null, null, null, null, 22, null)
    await beginPiped(w)
    const wire = await startWire(w)
    t.after(() => wire.close())
    // From here the agent hears nothing: neither acknowledgements nor receipts.
    await w.proxy.link('blackhole down')
    for (const part of [file.slice(0, 3), file.slice(3, 6), file.slice(6)]) {
      const before = rows(w).length
      write(w, part)
      await until(() => rows(w).length === before + accepted(part).length, 'the part is stored')
    }
    const first = rows(w)
    assert.deepEqual(first.map((row) => [row.event_type, row.data]),
      accepted(file).map(({ line }) => [JSON.parse(line).event_type, dataOf(line)]))
    const cuts = () => wire.batches.map(({ events }) => events.map(({ seq }) => seq).join())
    const sentOnce = cuts().filter((cut) => cut !== '')
    assert.ok(sentOnce.length >= 3)
    await w.collector.end('SIGKILL')
    await w.startCollector({ receipts: null }) // so that no receipt saves the resend
    await w.proxy.link('reset') // what was under way is gone for good
    await w.proxy.link('clear')
    await until(() => counter(w, 'duplicates') >= 8, 'everything came again')
    await w.collector.end('SIGKILL')
    await w.startCollector()
    await settled(w, 8, 1)
    assert.ok(cuts().some((cut) => cut !== '' && !sentOnce.includes(cut)), 'cut differently')
    assert.equal(counter(w, 'conflicts'), 0)
    assert.deepEqual(w.query('SELECT * FROM monitoring_conflicts'), [])
    assert.deepEqual(rows(w), first)

    // The first event once more as it was, and one with other content under its identity.
    const sent = wire.batches.find(({ events }) => events[0]?.seq === first[0].seq)
    const forged = (data) => JSON.stringify({ ...sent,
      events: [{ ...sent.events[0], data: 'HERE' }] }).replace('"HERE"', data)
    const known = counter(w, 'duplicates')
    assert.equal(await wire.push(forged(first[0].data)), 'ok')
    await until(() => counter(w, 'duplicates') === known + 1, 'the same row is a duplicate')
    assert.equal(counter(w, 'conflicts'), 0)
    assert.equal(await wire.push(forged('{"b":3,"a":2}')), 'ok') // what jsonb makes of it
    await until(() => counter(w, 'conflicts') === 1, 'the other row is a conflict')
    assert.deepEqual(w.query('SELECT seq, times FROM monitoring_conflicts').map((row) => ({ ...row })),
      [{ seq: first[0].seq, times: 1 }])
    assert.deepEqual(rows(w), first)
    await ended(w, { emitted: 8, rejected: 1 })
  })
