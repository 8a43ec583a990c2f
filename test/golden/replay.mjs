// Goal: petrel-realtime answers byte for byte as a real Supabase Realtime server was recorded to.
// Method: the client frames of each transcript are sent again, in the recorded order and each only
// after every answer recorded before it is in; tokens are minted anew. The answers are compared
// per client after normalising what differs between any two runs: phx_refs (numbered as they
// appear), server UUIDs, postgres_changes ids, seconds since a token expired.
// Where our rules are not the recorded project's policies, `rewrite` says what was changed and
// `leaveOut` which answers cannot be had here, and why. See README.md for the transcripts.
//
// Usage: node replay.mjs PATH-OF-petrel-realtime

import { createHmac, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startServer } from '../integration/server/process.mjs'

const here = dirname(fileURLToPath(import.meta.url))
const WebSocket = createRequire(join(here, '../integration/package.json'))('ws')
const ANSWER_MS_MAX = 10000 // a refused join takes 0.5 s at --time-scale 10
const QUIET_MS = 300 // at the end nothing more may come

const transcripts = [
  { file: '01-public.txt' },
  {
    file: '02-private.txt',
    // The recorded policies: room:% everything for signed-in users, ro:% read only, secret:%
    // nothing. Here the service may do everything, a device reads its downlink, and nothing else.
    claims: (claims, line) =>
      claims.role !== 'authenticated' ? claims
        : line.includes('realtime:room:1') ? { ...claims, role: 'service_role' }
          : { ...claims, device: 'devA' },
    topics: { 'realtime:ro:1': 'realtime:petrel:down:devA' },
    leaveOut: [
      [/^A <- \["15",null,"realtime:ro:1","presence_state"/,
        'a device may not read presence on its downlink, the recorded user could on ro:1'],
      [/<- <bin 132>.*dbevent/, 'sent from the database (realtime.send)'],
      [/"broadcast",\{"event":"dbevent","meta"/, 'replayed from the database'],
    ],
  },
  {
    file: '03-errors.txt',
    leaveOut: [
      [/^unknown_tenant /, 'this server has one tenant, whatever the Host (a later issue)'],
      [/realtime:jp45703/, 'there is no PostgreSQL to subscribe to with a made-up event'],
      [/^d -- CLOSED/, 'libwebsockets echoes the reason of a close, Realtime only its code'],
    ],
  },
  {
    file: '11-two-channels.txt',
    // Recorded on a shared uplink up:1; ours is one per device, and the claim is `device`.
    claimsOf: {
      devA: { role: 'petrel_device', device: 'devA' },
      devB: { role: 'authenticated', device: 'devB' },
      devC: { role: 'petrel_device', device: 'devC' },
      svc: { role: 'service_role' },
    },
    topics: {
      'realtime:up:1': (client) => `realtime:petrel:up:${client === 'devB' ? 'devB' : 'devA'}`,
      'realtime:up:2': 'realtime:petrel:up:devC',
      'realtime:down:11111111-1111-4111-8111-111111111111': 'realtime:petrel:down:devA',
    },
    // The join of an uplink without presence is made on an own uplink not joined yet.
    client: (client, line) => (line.includes('realtime:up:2') ? 'devC' : client),
    leaveOut: [
      [/^devB <- .*presence_diff/, 'presence of A on its own uplink is not B\'s to see'],
    ],
  },
]

// Reading a transcript -------------------------------------------------------------------------

// The wire form of a frame as the transcript writes it: text, or <bin N> and hex.
function recordedFrame(text) {
  const binary = /^<bin (\d+)> ([0-9a-f]*)/.exec(text)
  if (!binary) { return text }
  const bytes = Buffer.from(binary[2], 'hex')
  if (bytes.length !== Number(binary[1])) { throw new Error(`cut frame: ${text}`) }
  return bytes
}

// Every topic, with and without its prefix, under its new name; lengths of binary frames follow.
function rename(frame, topics, client) {
  const named = Object.entries(topics ?? {}).map(([from, to]) =>
    [from, typeof to === 'function' ? to(client) : to])
  if (typeof frame === 'string') {
    return named.reduce((text, [from, to]) => text.replaceAll(`"${from}"`, `"${to}"`)
      .replaceAll(`topic: ${from.slice(9)}"`, `topic: ${to.slice(9)}"`), frame)
  }
  const topicField = { 3: 2, 4: 0 }[frame[0]]
  if (topicField === undefined || frame.length < 7) { return frame }
  const start = { 3: 7, 4: 5 }[frame[0]] +
    frame.subarray(1, 1 + topicField).reduce((sum, len) => sum + len, 0)
  const len = frame[1 + topicField]
  const topic = frame.subarray(start, start + len).toString()
  const to = named.find(([from]) => from === topic)?.[1]
  if (!to) { return frame }
  const renamed = Buffer.concat([frame.subarray(0, start), Buffer.from(to),
    frame.subarray(start + len)])
  renamed[1 + topicField] = Buffer.byteLength(to)
  return renamed
}

function* lines(spec) {
  for (const raw of readFileSync(join(here, spec.file), 'utf8').split('\n')) {
    const line = raw.trim().replace(/^[\d.]+ /, '')
    const m = /^(\S+) (->|<-|--|close) ?(.*)$/.exec(line)
    if (!m || line.startsWith('#')) { continue }
    const client = spec.client?.(m[1], line) ?? m[1]
    yield { line, client, kind: m[2], text: m[3] }
  }
}

// Tokens ---------------------------------------------------------------------------------------

const base64url = (value) => Buffer.from(value).toString('base64url')

function mint(claims, secret, alg = 'HS256') {
  const signed = `${base64url(JSON.stringify({ alg, typ: 'JWT' }))}.${base64url(JSON.stringify(claims))}`
  const signature = createHmac('sha256', secret).update(signed).digest('base64url')
  return `${signed}.${alg === 'none' ? '' : signature}`
}

// Puts real tokens where the transcript shows only their claims, as old or young as they were.
function fillTokens(text, line, spec, client, secret) {
  const now = Math.floor(Date.now() / 1000)
  return text.replace(/<JWT alg none>/, () => mint({ role: 'anon', exp: now + 60 }, secret, 'none'))
    .replace(/<JWT (\{.*?\})>/g, (_, json) => {
      let claims = JSON.parse(json)
      const shift = now - claims.iat
      claims = spec.claims?.(claims, line) ?? claims
      for (const name of ['iat', 'exp', 'nbf']) {
        if (typeof claims[name] === 'number') { claims[name] += shift }
      }
      return mint(claims, client === 'bad_signature' ? 'not the secret' : secret)
    })
}

// Playing it -----------------------------------------------------------------------------------

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

async function until(what, ms = ANSWER_MS_MAX) {
  for (const end = Date.now() + ms; Date.now() < end; await pause(2)) {
    if (what()) { return true }
  }
  return false
}

class Client {
  constructor(name) {
    Object.assign(this, { name, want: [], got: [], opened: false, refused: null, closed: null })
  }

  connect(server, path, headers) {
    this.socket = new WebSocket(`${server.url}${path}`, { ca: server.ca, headers })
    this.socket.on('open', () => { this.opened = true })
    this.socket.on('message', (data, binary) => {
      this.got.push(binary ? data : data.toString())
    })
    this.socket.on('close', (code, reason) => { this.closed = `${code} "${reason}"` })
    this.socket.on('error', () => {})
    this.socket.on('unexpected-response', (_, res) => {
      let body = ''
      res.on('data', (d) => { body += d })
      res.on('end', () => { this.refused = `${res.statusCode} ${body}` })
    })
  }

  caughtUp() { return this.got.length >= this.want.length }
}

function normalised(frames) {
  const refs = new Map()
  return frames.map((frame) => {
    if (typeof frame !== 'string') { return frame.toString('hex') }
    return frame
      .replace(/("phx_ref(?:_prev)?":")([^"]+)"/g, (_, name, ref) => {
        if (!refs.has(ref)) { refs.set(ref, `ref ${refs.size + 1}`) }
        return `${name}${refs.get(ref)}"`
      })
      .replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'UUID')
      .replace(/"postgres_changes":\[\{"id":\d+/g, '"postgres_changes":[{"id":N')
      .replace(/expired \d+ seconds ago/g, 'expired N seconds ago')
  })
}

class Replay {
  constructor(spec, server) {
    Object.assign(this, { spec, server, clients: new Map(), compared: 0, failures: [] })
  }

  fail(text) { this.failures.push(`${this.spec.file}: ${text}`) }

  client(name) {
    if (!this.clients.has(name)) { this.clients.set(name, new Client(name)) }
    const client = this.clients.get(name)
    // Transcript 11 was recorded without its handshakes.
    const claims = this.spec.claimsOf?.[name]
    if (claims && !client.socket) {
      const exp = Math.floor(Date.now() / 1000) + 60
      const token = mint({ ...claims, exp }, this.server.secret)
      client.connect(this.server, `/realtime/v1/websocket?apikey=${token}&vsn=2.0.0`, {})
    }
    return client
  }

  async connect(client, text, line) {
    const url = fillTokens(text, line, this.spec, client.name, this.server.secret)
    const headers = client.name !== 'x_api_key_head' ? {}
      : { 'x-api-key': mint({ role: 'anon', exp: Date.now() }, this.server.secret) }
    client.connect(this.server, url.replace(/^CONNECT ws:\/\/[^/]+/, ''), headers)
  }

  async handshake(client, text) {
    const [, status, rest] = /^HTTP (\d+) (.*)$/.exec(text)
    if (status === '101') {
      await until(() => client.opened || client.refused)
      if (!client.opened) { this.fail(`${client.name}: not open, ${client.refused}`) }
    } else {
      const want = `${status} ${rest.slice(rest.indexOf(' body=') + 6)}`
      await until(() => client.opened || client.refused)
      if (client.refused !== want) { this.fail(`${client.name}: ${client.refused}, want ${want}`) }
    }
    this.compared++
  }

  async send(client, text, line) {
    await until(() => [...this.clients.values()].every((c) => c.caughtUp()))
    await until(() => client.opened)
    const frame = recordedFrame(fillTokens(text, line, this.spec, client.name, this.server.secret))
    client.socket.send(rename(frame, this.spec.topics, client.name))
  }

  async close(client, code) {
    if (code === 1006) {
      client.socket.terminate()
      return
    }
    await until(() => client.caughtUp())
    await pause(QUIET_MS)
    code === 1000 ? client.socket.close(1000, 'bye') : client.socket.close()
    await until(() => client.closed)
    if (client.closed !== `${code} ""`) { this.fail(`${client.name}: closed ${client.closed}`) }
    this.compared++
  }

  async step({ line, client: name, kind, text }) {
    const reason = this.spec.leaveOut?.find(([pattern]) => pattern.test(line))?.[1]
    if (reason) {
      console.log(`left out: ${this.spec.file}: ${line.slice(0, 70)}... (${reason})`)
      return
    }
    const client = this.client(name)
    if (kind === '->') {
      await this.send(client, text, line)
    } else if (kind === '<-') {
      client.want.push(rename(recordedFrame(text), this.spec.topics, name))
    } else if (kind === 'close' || text.startsWith('CLOSED')) {
      await this.close(client, Number(/\d+/.exec(text)[0]))
    } else if (text.startsWith('CONNECT')) {
      await this.connect(client, text, line)
    } else if (text.startsWith('HTTP')) {
      await this.handshake(client, text)
    }
  }

  compare() {
    for (const client of this.clients.values()) {
      const want = normalised(client.want)
      const got = normalised(client.got)
      for (let i = 0; i < Math.max(want.length, got.length); i++) {
        this.compared++
        if (want[i] !== got[i]) {
          this.fail(`${client.name}, answer ${i + 1}\n   want ${want[i]}\n   got  ${got[i]}`)
          break // what follows is shifted
        }
      }
    }
  }

  async run() {
    for (const step of lines(this.spec)) { await this.step(step) }
    this.compare()
    for (const client of this.clients.values()) { client.socket?.terminate() }
  }
}

// The end of transcript 03: compression is never agreed to.
async function checkNoCompression(server) {
  const token = mint({ role: 'anon', exp: Date.now() }, server.secret)
  const socket = new WebSocket(`${server.url}/socket/websocket?apikey=${token}&vsn=2.0.0`,
    { ca: server.ca, perMessageDeflate: true })
  await new Promise((resolve, reject) => { socket.on('open', resolve).on('error', reject) })
  const extensions = socket.extensions
  socket.terminate()
  return extensions === '' ? [] : [`extensions negotiated: ${extensions}`]
}

const server = await startServer(process.argv[2], {
  secret: randomBytes(16).toString('hex'),
  args: ['--time-scale', '10'],
})
const failures = await checkNoCompression(server)
let compared = 0
for (const spec of transcripts) {
  const replay = new Replay(spec, server)
  await replay.run()
  failures.push(...replay.failures)
  compared += replay.compared
}
await server.stop()
failures.forEach((text) => console.error(`FAIL ${text}`))
console.log(`golden: ${transcripts.length} transcripts, ${compared} answers compared, ` +
  `${failures.length} differ`)
process.exit(failures.length === 0 ? 0 : 1)
