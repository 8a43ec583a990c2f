// Goal: what petrel-realtime does with sockets rather than with frames: idle and shutdown closes,
// limits, certificates, slow readers, and garbage of every kind, which it survives. Method: raw
// WebSocket, TLS and TCP clients; timers at a tenth.
//
// Usage: node sockets.mjs PATH-OF-petrel-realtime

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, rmSync, statSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import tls from 'node:tls'
import WebSocket from 'ws'
import { startServer } from './process.mjs'

const binary = process.argv[2]
const secret = randomBytes(16).toString('hex')
const start = (...args) => startServer(binary, { secret, args })
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
let server

function mint(...args) {
  return execFileSync(binary, ['mint', '--jwt-secret-file', server.secretFile, ...args],
    { encoding: 'utf8' }).trim()
}

async function connect(token = mint('--role', 'anon'), options = {}) {
  const socket = new WebSocket(`${server.url}/realtime/v1/websocket?apikey=${token}&vsn=2.0.0`,
    { ca: server.ca, ...options })
  socket.frames = []
  socket.on('message', (data, isBinary) => socket.frames.push(isBinary ? data : data.toString()))
  socket.closed = new Promise((resolve) => {
    socket.on('close', (code, reason) => resolve({ code, reason: reason.toString(), at: Date.now() }))
  })
  await new Promise((resolve, reject) => { socket.on('open', resolve).on('error', reject) })
  socket.on('error', () => {})
  return socket
}

async function until(what, label, ms = 5000) {
  for (const end = Date.now() + ms; Date.now() < end; await pause(2)) {
    if (what()) { return }
  }
  assert.fail(`never: ${label}`)
}

async function heartbeat(socket) {
  const count = socket.frames.length
  socket.send('[null,"h","phoenix","heartbeat",{}]')
  await until(() => socket.frames.length > count, 'heartbeat reply')
  assert.equal(socket.frames.at(-1),
    '[null,"h","phoenix","phx_reply",{"status":"ok","response":{}}]')
}

async function join_(socket, name, config = '{}') {
  const count = socket.frames.length
  socket.send(`["1","1","realtime:${name}","phx_join",{"config":${config}}]`)
  await until(() => socket.frames.length > count, 'join reply')
  assert.match(socket.frames[count], /"status":"ok"/)
}

function push(topic, payload) {
  const name = `realtime:${topic}`
  return Buffer.concat([Buffer.from([3, 1, 1, name.length, 1, 0, 1]), Buffer.from(`12${name}e`),
    Buffer.from(payload)])
}

const steps = {
  async 'a client that sends nothing is closed with 1000, pings keep it open'() {
    const begin = Date.now()
    const idle = await connect()
    const pinging = await connect()
    const timer = setInterval(() => pinging.ping(), 300)
    const { code, reason, at } = await idle.closed // 60 to 66 s, a tenth of it here
    assert.deepEqual({ code, reason }, { code: 1000, reason: '' })
    assert.ok(at - begin >= 5900 && at - begin <= 7500, `closed after ${at - begin} ms`)
    assert.equal(pinging.readyState, WebSocket.OPEN)
    await heartbeat(pinging)
    clearInterval(timer)
    pinging.terminate()
  },

  async 'fragments are put together, also around a ping'() {
    const socket = await connect()
    socket.send('[null,"h","phoe', { fin: false })
    socket.ping()
    socket.send('nix","heartbeat",{}]', { fin: true })
    await until(() => socket.frames.length === 1, 'reply')
    socket.terminate()
  },

  async 'messages of every length form go through'() {
    const socket = await connect()
    await join_(socket, 'len', '{"broadcast":{"self":true}}')
    for (const len of [0, 1, 100, 125, 126, 65535, 65536, 200000, 2900000]) {
      const payload = randomBytes(len)
      const count = socket.frames.length
      socket.send(push('len', payload))
      await until(() => socket.frames.length > count, `echo of ${len}`)
      assert.ok(socket.frames.at(-1).subarray(-len || Infinity).equals(payload))
    }
    socket.terminate()
  },

  async 'a message over 5,000,000 bytes is answered by close 1009'() {
    const socket = await connect()
    await join_(socket, 'big', '{"broadcast":{"ack":true}}')
    socket.send(push('big', Buffer.alloc(4900000)))
    await until(() => socket.frames.length === 2, 'reply')
    assert.match(socket.frames[1], /"payload_size_exceeded"/)
    socket.send(Buffer.alloc(5000001))
    const { code } = await socket.closed
    assert.ok(code === 1009 || code === 1006, `close ${code}`) // 1006: reset while still writing
  },

  async 'a refused key is answered late, a bad version at once and empty'() {
    const refused = (query) => new Promise((resolve, reject) => {
      const begin = Date.now()
      new WebSocket(`${server.url}/socket/websocket?${query}`, { ca: server.ca })
        .on('unexpected-response', (_, res) => {
          let body = ''
          res.on('data', (d) => { body += d })
          res.on('end', () => resolve([res.statusCode, body, Date.now() - begin, res.headers.date]))
        })
        .on('open', () => reject(new Error('opened')))
        .on('error', reject)
    })
    const [status, body, ms, date] = await refused('apikey=x&vsn=2.0.0')
    assert.deepEqual([status, body], [401, '{"error":"The token provided is not a valid JWT"}'])
    assert.ok(ms >= 195, `after ${ms} ms`)
    assert.ok(Math.abs(new Date(date) - Date.now()) < 5000)
    assert.deepEqual((await refused('vsn=2.0.0')).slice(0, 2),
      [401, '{"error":"API key is missing"}'])
    assert.deepEqual((await refused(`apikey=${mint('--role', 'anon', '--ttl', '-5')}&vsn=2.0.0`))
      .slice(0, 2), [401, '{"error":"Token has expired"}'])
    assert.deepEqual((await refused('vsn=1.0.0')).slice(0, 2), [403, ''])
    assert.deepEqual((await refused('')).slice(0, 2), [403, ''])
  },

  async 'a refused join blocks its socket, and no other'() {
    const device = await connect(mint('--role', 'petrel_device', '--device', 'a'))
    const other = await connect()
    const begin = Date.now()
    device.send('["1","1","realtime:petrel:down:b","phx_join",{"config":{"private":true}}]')
    device.send('[null,"h","phoenix","heartbeat",{}]')
    await heartbeat(other)
    assert.ok(Date.now() - begin < 400)
    assert.equal(device.frames.length, 0)
    await until(() => device.frames.length === 2, 'both answers')
    assert.ok(Date.now() - begin >= 495, `after ${Date.now() - begin} ms`)
    assert.match(device.frames[0], /Unauthorized: You do not have permissions to read from this/)
    assert.match(device.frames[1], /^\[null,"h","phoenix","phx_reply"/)
    device.send('[null,"h2","phoenix","heartbeat",{}]') // and it goes on
    await until(() => device.frames.length === 3, 'a later heartbeat')
    for (const socket of [device, other]) { socket.terminate() }
  },

  async 'who does not read is dropped, the others go on'() {
    const sender = await connect()
    const reader = await connect()
    const sleeper = await connect()
    await join_(sender, 'slow', '{"broadcast":{"ack":true}}')
    await join_(reader, 'slow')
    await join_(sleeper, 'slow')
    sleeper.pause()
    const stats = () => JSON.parse(readFileSync(join(server.dir, 'stats')))
    const payload = Buffer.alloc(1000000)
    let sent = 0
    await until(() => {
      if (sender.frames.length > sent) { // one at a time, each acknowledged
        sender.send(push('slow', payload))
        sent++
      }
      return stats().killed_slow === 1
    }, 'the sleeper is dropped', 20000)
    await until(() => reader.frames.length === sent + 1, 'the reader has everything')
    sleeper.resume()
    const { code } = await sleeper.closed
    assert.equal(code, 1006)
    await heartbeat(sender)
    for (const socket of [sender, reader]) { socket.terminate() }
  },

  async 'the counters say what happened'() {
    await pause(500) // the file is up to 0.2 s old
    const before = JSON.parse(readFileSync(join(server.dir, 'stats')))
    const socket = await connect()
    await join_(socket, 'count', '{"broadcast":{"ack":true,"self":true}}')
    socket.send(push('count', '{}'))
    await until(() => socket.frames.length === 3, 'echo and ack')
    await until(() => {
      const after = JSON.parse(readFileSync(join(server.dir, 'stats')))
      return after.joins === before.joins + 1 && after.acks === before.acks + 1 &&
        after.broadcasts_in === before.broadcasts_in + 1 &&
        after.deliveries === before.deliveries + 1
    }, 'counters')
    socket.terminate()
  },

  async 'garbage on every layer is survived'() {
    const ends = []
    const poke = (open, bytes) => {
      const s = open()
      ends.push(new Promise((resolve) => s.on('close', resolve)))
      s.on('error', () => {})
      s.on('data', () => {})
      s.write(bytes, () => setTimeout(() => s.destroy(), 50))
    }
    const tcp = () => net.connect(server.port, '127.0.0.1')
    const secure = () => tls.connect({ port: server.port, host: '127.0.0.1', ca: server.ca })
    const upgradeWith = (key) => `GET /socket/websocket?apikey=${key}&vsn=2.0.0 HTTP/1.1\r\n` +
      'Host: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n'
    const upgrade = upgradeWith(mint('--role', 'anon'))
    for (let i = 0; i < 30; i++) {
      const noise = randomBytes(1 + Math.floor(Math.random() * 3000))
      poke(tcp, noise)
      poke(secure, noise)
      poke(secure, Buffer.concat([Buffer.from('GET /'), noise]))
      poke(secure, Buffer.concat([Buffer.from(upgrade), noise])) // unmasked, bad opcodes, lengths
      poke(secure, upgradeWith('bad')) // gone before the answer
      poke(secure, Buffer.concat([Buffer.from(upgradeWith('bad')), noise]))
      poke(secure, upgradeWith('bad').repeat(3))
    }
    poke(secure, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    poke(secure, 'POST /socket/websocket HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello')
    poke(secure, `GET /${'a'.repeat(60000)} HTTP/1.1\r\n\r\n`)
    await Promise.all(ends)
    const socket = await connect()
    for (let i = 0; i < 300; i++) {
      const noise = randomBytes(Math.floor(Math.random() * 300))
      noise[0] = 3
      socket.send(noise)
      socket.send(`[${noise.toString('base64')}`)
    }
    await heartbeat(socket)
    socket.terminate()
  },

  async 'invalid UTF-8 in text is a protocol error'() {
    const socket = await connect()
    socket.send(Buffer.from([0x22, 0xff, 0x22]), { binary: false })
    assert.equal((await socket.closed).code, 1007)
  },

  async 'certificates: keys are private, bad ones are refused'() {
    const dir = join(server.dir, 'tls')
    for (const name of ['key.pem', 'ca-key.pem']) {
      assert.equal(statSync(join(dir, name)).mode & 0o777, 0o600)
    }
    const cases = [
      ['other-host', ['--ca-dir', dir, '--host', 'other.example'], 'ERR_TLS_CERT_ALTNAME_INVALID'],
      ['expired', ['--ca-dir', dir, '--not-before', '20200101000000', '--not-after',
        '20200102000000'], 'CERT_HAS_EXPIRED'],
      ['early', ['--ca-dir', dir, '--not-before', '20480101000000', '--not-after',
        '20490102000000'], 'CERT_NOT_YET_VALID'],
      ['other-ca', [], 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
      ['good', ['--ca-dir', dir], null],
    ]
    for (const [name, args, want] of cases) {
      const certs = join(server.dir, name)
      execFileSync(binary, ['make-certs', '--dir', certs, ...args])
      assert.ok(existsSync(join(certs, 'ca.pem')))
      const got = await handshakeError(certs, server.ca)
      assert.equal(got, want, name)
    }
  },

  async 'an address that is taken or wrong ends it with words'() {
    for (const [listen, words] of [[`127.0.0.1:${server.port}`, /Address already in use/],
      ['localhost:0', /not a numeric address/]]) {
      assert.throws(() => execFileSync(binary, ['--listen', listen, '--plain', '--jwt-secret-file',
        server.secretFile], { stdio: 'pipe', timeout: 5000, killSignal: 'SIGKILL' }), words)
    }
  },

  async 'a secret that everyone can read is refused'() {
    const path = join(server.dir, 'open-secret')
    execFileSync('sh', ['-c', 'umask 022; echo secret > "$1"', 'sh', path])
    assert.throws(() => execFileSync(binary,
      ['mint', '--role', 'anon', '--jwt-secret-file', path], { stdio: 'pipe' }), /chmod 600/)
  },

  async 'SIGTERM closes everyone with 1012 and exits 0'() {
    const sockets = await Promise.all([connect(), connect(), connect()])
    await join_(sockets[0], 'end')
    process.kill(server.pid, 'SIGTERM')
    for (const socket of sockets) {
      assert.equal((await socket.closed).code, 1012)
    }
    assert.equal(await server.exited, 0)
  },
}

// A Node TLS server with the certificates of `dir`, and what a client that trusts `ca` says.
async function handshakeError(dir, ca) {
  const other = tls.createServer({
    cert: readFileSync(join(dir, 'cert.pem')),
    key: readFileSync(join(dir, 'key.pem')),
  })
  other.on('tlsClientError', () => {})
  await new Promise((resolve) => other.listen(0, '127.0.0.1', resolve))
  const code = await new Promise((resolve) => {
    const s = tls.connect({ port: other.address().port, host: '127.0.0.1', servername: '', ca })
    s.on('secureConnect', () => resolve(null))
    s.on('error', (e) => resolve(e.code))
  })
  other.close()
  return code
}

server = await start('--time-scale', '10', '--backlog-bytes', '8000000')
for (const [name, step] of Object.entries(steps)) {
  await step()
  console.log(`ok - ${name}`)
}
rmSync(server.dir, { recursive: true })
console.log(`sockets: ${Object.keys(steps).length} scenarios passed`)
process.exit(0)
