// One test in a world of its own, and the questions that all of them ask of the store.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { scale, until, World } from './world.mjs'

// `within`: seconds at scale 10. The parts' logs are printed when the body fails.
export function scenario(name, body, { within = 60, ...options } = {}) {
  test(name, { timeout: within * 1000 * Math.max(1, 10 / scale) }, async (t) => {
    const w = new World(options)
    try {
      await body(w, t)
    } catch (error) {
      console.error(`${name}: ${error.message}\n${w.logs()}`)
      throw error
    } finally {
      await w.close()
    }
  })
}

// Server, proxy, collector and agent, joined, with the source running.
export async function begin(w, { settings, source, receipts, collectorPort } = {}) {
  await w.startServer()
  w.proxy = await w.startProxy()
  await w.startCollector({ receipts, port: collectorPort })
  const file = await w.configure(w.proxy.port, settings)
  w.startAgent(file)
  await w.agentReady()
  if (source !== null) { w.startSource(source) }
}

export const emittedMore = (w, more) => {
  const from = w.source.tally.emitted
  return until(() => w.source.tally.emitted >= from + more, `${more} more events emitted`)
}

export async function breakerIs(w, state) {
  return until(async () => {
    const s = await w.status()
    return s?.link.breaker === state && s
  }, `the breaker is ${state}`)
}

// OPEN, and nothing is in RAM alone.
export async function spilled(w) {
  return until(async () => {
    const s = await w.status()
    return s?.link.breaker === 'open' && s.journal.mode === 'direct' && s.events.held_ram === 0 && s
  }, 'the breaker is open and everything is spilled')
}

// Rows of the source's events by number; one number twice, or under another seq, is an error.
export function rowsByN(w) {
  const told = new Map(w.source.answers().map((answer) => [answer.n, answer]))
  const rows = new Map()
  for (const row of w.query(`SELECT epoch, seq, json_extract(data, '$.n') AS n
    FROM monitoring_events WHERE event_type = 'demo.tick'`)) {
    assert.ok(!rows.has(row.n), `event ${row.n} is stored twice`)
    const seq = told.get(row.n)?.seq
    assert.ok(seq === undefined || seq === null || seq === row.seq,
      `event ${row.n} was answered seq ${seq} and stored as ${row.seq}`)
    rows.set(row.n, row)
  }
  return rows
}

// Answered events that are not in the store.
export function missing(w, how = /durable|accepted/) {
  const rows = rowsByN(w)
  return w.source.answers().filter((answer) => how.test(answer.how) && !rows.has(answer.n))
}

// Everything answered is stored, each once, and nothing was declared lost.
export async function allStored(w, { unanswered = 0 } = {}) {
  const tally = await w.source.hold()
  await until(() => w.stored().ns >= tally.accepted && missing(w).length === 0,
    `${tally.accepted} events stored`)
  assert.equal(tally.refused, 0)
  assert.ok(tally.unanswered <= unanswered, `${tally.unanswered} unanswered`)
  assert.deepEqual(w.gaps(), [])
  return tally
}

// The agent has heard of it too: nothing held, and its counters add up.
export async function allReceipted(w) {
  const s = await until(async () => {
    const now = await w.status()
    return now && now.events.held === 0 && now.events.held_earlier_runs === 0 && now
  }, 'the agent holds nothing')
  const { emitted, delivered, held, lost, uncertain } = s.events
  assert.equal(emitted, delivered + held + lost + uncertain)
  assert.equal(lost + uncertain, 0)
  return s
}
