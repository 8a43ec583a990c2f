// Goal: the unmodified official client works against petrel-realtime over verified TLS. Method:
// supabase-js on a public channel (self, ack, presence), a device and the service on Petrel's two
// private channels; tokens from `petrel-realtime mint`. Frames are seen through the client only,
// but for one look at the raw socket for the kind-4 frame.
//
// Usage: node supabase_js.mjs PATH-OF-petrel-realtime (starts itself again with
// NODE_EXTRA_CA_CERTS, which Node reads only at its start)

import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { createClient } from '@supabase/supabase-js'
import WebSocket from 'ws'
import { startServer } from './process.mjs'

const binary = process.argv[2]

async function runWithCa() {
  const server = await startServer(binary, {
    secret: randomBytes(16).toString('hex'),
    args: ['--time-scale', '10'],
  })
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), binary], {
    stdio: 'inherit',
    env: {
      ...process.env,
      NODE_EXTRA_CA_CERTS: server.caFile,
      TEST_PORT: String(server.port),
      TEST_SECRET_FILE: server.secretFile,
    },
  })
  const code = await new Promise((resolve) => child.on('exit', (c) => resolve(c ?? 1)))
  const serverCode = await server.stop()
  process.exit(code === 0 && serverCode === 0 ? 0 : 1)
}

const mint = (...args) => execFileSync(binary,
  ['mint', '--jwt-secret-file', process.env.TEST_SECRET_FILE, ...args]).toString().trim()

const open = []

function client(...mintArgs) {
  const anon = mint('--role', 'anon')
  const c = createClient(`https://localhost:${process.env.TEST_PORT}`, anon, {
    auth: { persistSession: false, autoRefreshToken: false },
    realtime: { logger: (kind, text) => process.env.TEST_VERBOSE && console.log(kind, text) },
    accessToken: async () => (mintArgs.length > 0 ? mint(...mintArgs) : anon),
  })
  open.push(c)
  return c
}

// Resolves with the first status that is not of the way there.
function subscribe(channel) {
  return new Promise((resolve) => {
    channel.subscribe((status, error) => resolve({ status, text: error?.message ?? '' }))
  })
}

async function joins(channel) {
  assert.deepEqual(await subscribe(channel), { status: 'SUBSCRIBED', text: '' })
}

async function until(what, label) {
  for (let i = 0; i < 1000; i++) {
    if (what()) { return }
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  assert.fail(`never: ${label}`)
}

const steps = {
  async 'public channel: broadcast, own copy, ack'() {
    const a = client()
    const b = client()
    const channelA = a.channel('room', { config: { broadcast: { self: true, ack: true } } })
    const channelB = b.channel('room')
    const gotA = []
    const gotB = []
    channelA.on('broadcast', { event: 'hello' }, (m) => gotA.push(m.payload))
    channelB.on('broadcast', { event: '*' }, (m) => gotB.push([m.event, m.payload]))
    await joins(channelA)
    await joins(channelB)
    const payload = { n: 1, text: 'žluť ☃' }
    assert.equal(await channelA.send({ type: 'broadcast', event: 'hello', payload }), 'ok')
    assert.deepEqual(gotA, [payload]) // before the ack
    await until(() => gotB.length === 1, 'B hears A')
    assert.deepEqual(gotB, [['hello', payload]])
  },

  async 'presence: state, joins, leaves'() {
    const a = client()
    const b = client()
    const seen = []
    const channelA = a.channel('lobby', { config: { presence: { key: 'alice' } } })
    channelA.on('presence', { event: 'join' }, ({ key }) => seen.push(`+${key}`))
    channelA.on('presence', { event: 'leave' }, ({ key }) => seen.push(`-${key}`))
    await joins(channelA)
    assert.equal(await channelA.track({ mood: 'ok' }), 'ok')
    const channelB = b.channel('lobby', { config: { presence: { key: 'bob' } } })
    channelB.on('presence', { event: 'sync' }, () => {})
    await joins(channelB)
    await until(() => channelB.presenceState().alice?.[0].mood === 'ok', 'B sees the state')
    assert.equal(await channelB.track({ mood: 'fine' }), 'ok')
    await until(() => seen.includes('+bob'), 'A sees B come')
    await b.removeChannel(channelB)
    await until(() => seen.includes('-bob'), 'A sees B go')
  },

  async 'private channels: a device up, the service down'() {
    const device = client('--role', 'petrel_device', '--device', 'gw-1')
    const service = client('--role', 'service_role')
    await device.realtime.setAuth() // as Supabase's guide says for private channels
    await service.realtime.setAuth()
    const setup = { config: { private: true, broadcast: { ack: true } } }
    const up = device.channel('petrel:up:gw-1', setup)
    up.on('presence', { event: 'sync' }, () => {}) // enables presence, without which no uplink
    const down = device.channel('petrel:down:gw-1', setup)
    const serviceUp = service.channel('petrel:up:gw-1', setup)
    const serviceDown = service.channel('petrel:down:gw-1', setup)
    const received = { device: [], service: [] }
    up.on('broadcast', { event: '*' }, (m) => received.device.push(m.event))
    down.on('broadcast', { event: '*' }, (m) => received.device.push(m.event))
    serviceUp.on('broadcast', { event: 'events' }, (m) => received.service.push(m.payload))
    for (const channel of [up, down, serviceUp, serviceDown]) {
      await joins(channel)
    }
    const batch = { v: 1, device: 'gw-1', events: [{ seq: 1, data: { celsius: 21.5 } }] }
    assert.equal(await up.send({ type: 'broadcast', event: 'events', payload: batch }), 'ok')
    await until(() => received.service.length === 1, 'the service hears the batch')
    assert.deepEqual(received.service, [batch])
    const receipt = { source: 'main', epochs: [] }
    assert.equal(await serviceDown.send({ type: 'broadcast', event: 'receipt', payload: receipt }),
      'ok')
    await until(() => received.device.length === 1, 'the device hears the receipt')
    // A forged receipt: no answer at all, and nobody hears it.
    const forged = { type: 'broadcast', event: 'forged', payload: {} }
    assert.equal(await down.send(forged, { timeout: 500 }), 'timed out')
    assert.deepEqual(received.device, ['receipt'])
  },

  async 'a device cannot read another one, the refusal says why'() {
    const device = client('--role', 'authenticated', '--device', 'gw-1')
    await device.realtime.setAuth()
    const channel = device.channel('petrel:down:gw-2', { config: { private: true } })
    const { status, text } = await subscribe(channel)
    assert.equal(status, 'CHANNEL_ERROR')
    assert.match(text, /Unauthorized: You do not have permissions to read from this Channel topic: petrel:down:gw-2/)
    await device.removeChannel(channel)
  },

  async 'what supabase-js sends arrives as a kind-4 frame'() {
    const raw = new WebSocket(
      `wss://localhost:${process.env.TEST_PORT}/realtime/v1/websocket?vsn=2.0.0`,
      { headers: { 'x-api-key': mint('--role', 'anon') } })
    await new Promise((resolve, reject) => { raw.on('open', resolve).on('error', reject) })
    const frames = []
    raw.on('message', (data, isBinary) => frames.push(isBinary ? data : data.toString()))
    raw.send('["1","1","realtime:wire","phx_join",{"config":{}}]')
    await until(() => frames.length === 1, 'joined')
    const channel = client().channel('wire')
    await joins(channel)
    await channel.send({ type: 'broadcast', event: 'e', payload: { x: 1 } })
    await until(() => frames.length === 2, 'the frame')
    assert.deepEqual(frames[1],
      Buffer.from('\x04\x0d\x01\x00\x01realtime:wiree{"x":1}', 'latin1'))
    raw.terminate()
  },
}

if (!process.env.TEST_PORT) {
  await runWithCa()
}
for (const [name, step] of Object.entries(steps)) {
  await step()
  console.log(`ok - ${name}`)
}
for (const c of open) { await c.realtime.disconnect() }
console.log(`supabase-js: ${Object.keys(steps).length} scenarios passed`)
process.exit(0)
