// Goal: receipts that are lost, late, or given by nobody cost resends and never events. Method: real
// processes over TLS; a second petrel-faultproxy stands between the collector and the server.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { allReceipted, allStored, begin, emittedMore, scenario } from './scenario.mjs'
import { scale, until } from './world.mjs'

async function beginBehind(w) {
  await w.startServer()
  w.behind = await w.startProxy('behind')
  w.proxy = await w.startProxy()
  await w.startCollector({ port: w.behind.port })
  w.startAgent(await w.configure(w.proxy.port))
  await w.agentReady()
  w.startSource({ rate: 20 * scale }) // as much in RAM unscaled: nothing is spilled meanwhile
}

// The collector has given (into a hole) all the receipts it owed: a whole interval without a new one.
function receiptsGiven(w) {
  let last = { receipts: -1, at: 0 }
  return until(() => {
    const { receipts } = JSON.parse(readFileSync(w.file('collector.json')))
    if (receipts !== last.receipts) { last = { receipts, at: Date.now() } }
    return Date.now() - last.at > 3 * w.ms(1000)
  }, 'the collector owes no receipt')
}

scenario('receipts lost on the way: what was stored comes again and is stored once', async (w) => {
  await beginBehind(w)
  for (let i = 0; i < 3; i++) {
    await emittedMore(w, 60)
    await w.behind.link('blackhole up') // batches still come in, receipts do not get out
    await emittedMore(w, 60)
    const { emitted } = await w.source.hold() // so that no later receipt covers it all
    await until(() => w.stored().ns >= emitted, 'the collector has stored it all')
    await receiptsGiven(w)
    const { events } = await w.status()
    assert.ok(events.held > 0, 'the agent does not know yet')
    await w.behind.link('reset') // and the receipts are gone for good
    await w.behind.link('clear')
    await allReceipted(w)
    await w.source.resume()
  }
  await allStored(w)
  assert.ok((await allReceipted(w)).traffic.resent_batches >= 3)
  assert.ok(w.duplicates() > 0, 'something came twice')
})

scenario('receipts late, by more than the agent waits', async (w) => {
  await beginBehind(w)
  await emittedMore(w, 60)
  await w.behind.link(`delay ${w.ms(15000)}`)
  await until(async () => (await w.status()).traffic.resent_batches > 0, 'batches are sent again')
  await w.behind.link('clear')
  await allStored(w)
  const s = await allReceipted(w)
  assert.ok(s.traffic.resent_batches > 0)
  assert.equal(s.link.lost, 0)
})

scenario('a collector that gives no receipts, then one that does', async (w) => {
  await begin(w, { receipts: null })
  await emittedMore(w, 300)
  const before = await w.status()
  assert.equal(before.events.delivered, 0) // stored, but nobody says so
  await w.collector.end('SIGTERM')
  await w.startCollector()
  await emittedMore(w, 60)
  await allStored(w)
  await allReceipted(w)
})

scenario('receipts under another name are counted and not obeyed', async (w) => {
  await begin(w, { receipts: 'backup' })
  await emittedMore(w, 200)
  const s = await until(async () => {
    const now = await w.status()
    return now.traffic.receipts_foreign > 0 && now
  }, 'a foreign receipt')
  assert.equal(s.events.delivered, 0)
  assert.equal(s.traffic.receipts, 0)
})
