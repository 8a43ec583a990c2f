// Goal: 10,000 events on standard input are in the SQLite file, each once, and an unmodified
// supabase-js client has seen the same ones; the agent exits 0 only then. Method: the whole chain over
// TLS at delivery = stored, once on a good link and once through a black hole.

import assert from 'node:assert/strict'
import { scenario } from './scenario.mjs'
import { startSubscriber } from './subscriber.mjs'
import { until } from './world.mjs'

const COUNT = 10000

async function beginPiped(w) {
  await w.startServer()
  w.proxy = await w.startProxy()
  await w.startCollector()
  w.startAgent(await w.configure(w.proxy.port, {
    inputs: { stdin: 'yes' },
    agent: { status_s: 0 },
  }), { stdin: 'pipe' })
  await w.agentReady()
  return startSubscriber(w)
}

function write(w, from, to) {
  let text = ''
  for (let n = from; n < to; n++) {
    text += `{"event_type":"demo.tick","data":{"n":${n},"celsius":${20 + n % 100 / 10}}}\n`
  }
  w.agent.child.stdin.write(text)
}

// The end of standard input drains: exit 0 means that every event has its receipt.
async function ended(w, subscriber) {
  w.agent.child.stdin.end()
  assert.equal(await w.agent.exited, 0)
  const rows = w.query(`SELECT json_extract(data, '$.n') AS n, seq, data FROM monitoring_events
    ORDER BY seq`)
  assert.deepEqual(rows.map((row) => row.n), Array.from({ length: COUNT }, (_, n) => n))
  assert.equal(rows[17].data, '{"n":17,"celsius":21.7}') // byte for byte
  assert.deepEqual(w.gaps(), [])
  await until(() => subscriber.seen.size === COUNT, 'the subscriber has seen them all')
}

scenario('10,000 events on standard input', async (w) => {
  const subscriber = await beginPiped(w)
  write(w, 0, COUNT)
  await ended(w, subscriber)
})

scenario('10,000 events on standard input, most of them into a black hole', async (w) => {
  const subscriber = await beginPiped(w)
  write(w, 0, 500)
  await until(() => w.stored().ns >= 250, 'the first ones are stored')
  await w.proxy.link('blackhole')
  write(w, 500, COUNT)
  await until(async () => (await w.status()).link.breaker === 'open', 'the breaker is open')
  await w.proxy.link('clear')
  await ended(w, subscriber)
})
