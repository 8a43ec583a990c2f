// The official client under the same load: events of the same shape, acknowledged, through a channel
// of supabase-js with its defaults. Counted at the sink like every other client.
//
//     node client.mjs URL TOPIC EVENTS_PER_BROADCAST EVENTS_PER_SECOND     (0: as fast as it can)
//
// Runs until it is stopped. NODE_EXTRA_CA_CERTS names the CA of the sink.

import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

const modules = new URL('../../test/integration/package.json', import.meta.url)
const { createClient } = createRequire(fileURLToPath(modules))('@supabase/supabase-js')

const [url, topic, perBroadcastText, perSecondText] = process.argv.slice(2)
const perBroadcast = Number(perBroadcastText)
const perSecond = Number(perSecondText)
const TICK_MS = 1
const WINDOW = perBroadcast === 1 ? 64 : 8 // unacknowledged broadcasts at full rate

let seq = 0
const fill = 'the quick brown fox jumps over the lazy dog and looks back once more'

function event() {
  const n = seq++
  const data = {
    celsius: (n % 40) + (n % 97) / 100,
    humidity: (n % 90) + (n % 7) / 10,
    pressure: 980 + (n % 50) + (n % 9) / 10,
    ok: true,
    note: fill.slice(0, 28), // 100 bytes with the rest
  }
  return {
    seq: n,
    timestamp: new Date().toISOString(),
    event_type: 'climate',
    source: 'bench',
    severity: 'info',
    data,
  }
}

const client = createClient(url, 'bench-key', { auth: { persistSession: false } })
const channel = client.channel(topic, { config: { broadcast: { ack: true, self: false } } })

function send() {
  const payload = perBroadcast === 1 ? event() : { events: Array.from({ length: perBroadcast }, event) }
  return channel.send({ type: 'broadcast', event: 'events', payload })
}

async function flood() {
  for (;;) {
    const answer = await send()
    if (answer !== 'ok') {
      console.error(`client.mjs: a broadcast was answered ${answer}`)
      process.exit(1)
    }
  }
}

function pace() {
  const begin = performance.now()
  let sent = 0
  setInterval(() => {
    const due = Math.floor((performance.now() - begin) / 1000 * perSecond)
    while (due - sent >= perBroadcast) {
      sent += perBroadcast
      void send()
    }
  }, perBroadcast === 1 ? TICK_MS : 1000 * perBroadcast / perSecond / 2)
}

channel.subscribe((status, error) => {
  if (status === 'SUBSCRIBED') {
    if (perSecond > 0) {
      pace()
    } else {
      for (let i = 0; i < WINDOW; i++) {
        void flood()
      }
    }
  } else if (error) {
    console.error(`client.mjs: ${status}: ${error.message}`)
    process.exit(1)
  }
})
