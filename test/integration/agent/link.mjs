// Goal: at delivery = stored no answered event is missing, whatever the link does. Method: real
// processes over TLS; petrel-faultproxy between agent and server misbehaves while petrel-source
// sends; then its log of answers is compared with the collector's SQLite file, number by number.

import assert from 'node:assert/strict'
import { allReceipted, allStored, begin, breakerIs, emittedMore, scenario, spilled } from './scenario.mjs'
import { startSubscriber } from './subscriber.mjs'
import { until } from './world.mjs'

scenario('blackhole: everything is spilled, replayed and seen by a supabase-js subscriber',
  async (w) => {
    await begin(w, { source: null })
    const subscriber = await startSubscriber(w)
    w.startSource()
    await emittedMore(w, 100)
    await w.proxy.link('blackhole')
    await spilled(w)
    await emittedMore(w, 200)
    await w.proxy.link('clear')
    await breakerIs(w, 'closed')
    const tally = await allStored(w)
    const s = await allReceipted(w)
    assert.ok(s.link.lost >= 1)
    await until(() => subscriber.seen.size >= tally.accepted, 'the subscriber has seen them all')
  })

scenario('reset, again and again', async (w) => {
  await begin(w)
  for (let i = 0; i < 5; i++) {
    await emittedMore(w, 60)
    const { link: { connects } } = await w.status()
    await w.proxy.link('reset')
    await until(async () => (await w.status()).link.connects > connects, 'a new connection')
    await w.agentReady()
  }
  await allStored(w)
  assert.ok((await allReceipted(w)).link.lost >= 5)
})

scenario('half-open: the server is gone and the agent is not told', async (w) => {
  await begin(w)
  await emittedMore(w, 60)
  await w.proxy.link('halfopen client')
  await breakerIs(w, 'open')
  await w.agentReady()
  await allStored(w)
  await allReceipted(w)
})

scenario('half-open: the agent is gone and the server is not told', async (w) => {
  await begin(w)
  await emittedMore(w, 60)
  await w.proxy.link('halfopen server')
  await until(async () => (await w.status()).link.lost > 0, 'the link is lost')
  await w.agentReady()
  await emittedMore(w, 60)
  await allStored(w)
  await allReceipted(w)
})

scenario('every write split: handshake, joins, batches and receipts come in pieces', async (w) => {
  await w.startServer()
  w.proxy = await w.startProxy()
  await w.startCollector()
  await w.proxy.link('split 1')
  w.startAgent(await w.configure(w.proxy.port))
  await w.agentReady()
  w.startSource({ rate: 100 })
  for (const bytes of [1, 7, 100]) {
    await w.proxy.link(`split ${bytes}`)
    await emittedMore(w, 60)
    await w.proxy.link('reset')
    await until(async () => !(await w.status()).link.joined, 'the link is lost')
    await w.agentReady()
  }
  await allStored(w)
  await allReceipted(w)
})

scenario('a slow and jittery link loses nothing and costs no connection', async (w) => {
  await begin(w)
  await w.proxy.link(`delay ${w.ms(1500)} jitter ${w.ms(500)}`)
  await emittedMore(w, 300)
  await allStored(w)
  await w.proxy.link('clear')
  assert.equal((await allReceipted(w)).link.lost, 0)
})

scenario('nothing there at the start: events wait in the journal until it is', async (w) => {
  await w.startServer()
  w.proxy = await w.startProxy()
  await w.startCollector()
  await w.proxy.link('refuse')
  w.startAgent(await w.configure(w.proxy.port))
  await until(() => w.status(), 'the agent answers')
  w.startSource()
  await emittedMore(w, 100)
  await spilled(w)
  await w.proxy.link('clear')
  await allStored(w)
  await allReceipted(w)
})
