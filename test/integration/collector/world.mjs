// Programs and a device for the tests of petrel-collector: petrel-realtime and petrel-faultproxy on
// fixed ports, the collector itself, and a device that publishes by hand over a raw WebSocket.

import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import WebSocket from 'ws'

export const [collectorBinary, serverBinary, proxyBinary] = process.argv.slice(2)
export const dir = mkdtempSync(join(tmpdir(), 'petrel-collector-'))
process.setMaxListeners(100) // one for every program started
export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
process.on('exit', () => rmSync(dir, { recursive: true, force: true }))

export async function until(what, label, ms = 10000) {
  for (const end = Date.now() + ms; Date.now() < end; await pause(10)) {
    const value = what()
    if (value) { return value }
  }
  assert.fail(`never: ${label}`)
}

// Starts a program; resolves with its ready line matched by `ready`.
export async function start(binary, args, ready) {
  const child = spawn(binary, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  process.on('exit', () => child.kill('SIGKILL')) // a failed test leaves nothing behind
  const program = { child, out: '', err: '', code: undefined }
  child.stdout.on('data', (data) => { program.out += data })
  child.stderr.on('data', (data) => { program.err += data })
  program.exited = new Promise((resolve) => {
    child.on('exit', (code, signal) => { program.code = code ?? signal; resolve(program.code) })
  })
  program.stop = async (signal = 'SIGTERM') => { child.kill(signal); return program.exited }
  if (ready) {
    await until(() => ready.test(program.out) || program.code !== undefined, `${binary} ready`)
    program.ready = ready.exec(program.out)
    assert.ok(program.ready, `${binary} ended with ${program.code}: ${program.err}`)
  }
  return program
}

export async function startServer(listen = '127.0.0.1:0', tls = 'tls') {
  const server = await start(serverBinary, ['--listen', listen, '--tls-dir', join(dir, tls),
    '--jwt-secret-file', join(dir, 'secret'), '--time-scale', '10'], /ready wss:\/\/(\S+) ca=(\S+)/)
  server.address = server.ready[1]
  server.caFile = server.ready[2]
  return server
}

export function mint(role, device) {
  const args = ['mint', '--role', role, '--jwt-secret-file', join(dir, 'secret')]
  return execFileSync(serverBinary, device ? [...args, '--device', device] : args,
    { encoding: 'utf8' }).trim()
}

export function secretFile(name, text) {
  const file = join(dir, name)
  writeFileSync(file, text, { mode: 0o600 })
  return file
}

// At a tenth of the usual times.
export const fast = ['--heartbeat-ms', '2500', '--join-timeout-ms', '1200',
  '--connect-timeout-ms', '1000', '--backoff-base-ms', '100', '--backoff-cap-ms', '1000',
  '--reset-ms', '3000', '--slow-ms', '6000', '--receipt-ms', '100', '--busy-ms', '50',
  '--store-retry-ms', '20', '--check-ms', '100', '--status-ms', '100']

export function startCollector(address, ca, db, args) {
  return start(collectorBinary, ['--url', `wss://${address}`, '--ca-file', ca, '--key-file',
    join(dir, 'key'), '--db', db, ...fast, ...args], /petrel-collector ready .*\n/)
}

export const readJson = (file) => JSON.parse(readFileSync(file, 'utf8'))

// A device: joins its two channels, publishes, takes receipts.
export class Device {
  constructor(name) {
    this.name = name
    this.epoch = [...crypto.getRandomValues(new Uint8Array(8))]
      .map((b) => b.toString(16).padStart(2, '0')).join('')
    this.first = 5 * 2 ** 29
    this.receipts = []
    this.replies = new Map()
    this.ref = 0
  }

  async connect(address, ca) {
    const token = mint('authenticated', this.name)
    this.socket = new WebSocket(
      `wss://${address}/realtime/v1/websocket?apikey=${token}&vsn=2.0.0`, { ca: readFileSync(ca) })
    this.socket.on('message', (data, binary) => this.#take(data, binary))
    this.socket.on('error', () => {})
    await new Promise((resolve, reject) => {
      this.socket.once('open', resolve).once('error', reject)
    })
    for (const side of ['up', 'down']) {
      const ref = String(++this.ref)
      this[side] = ref
      this.socket.send(JSON.stringify([ref, ref, `realtime:petrel:${side}:${this.name}`, 'phx_join',
        { config: { broadcast: { ack: true, self: false }, private: true,
          presence: { key: '', enabled: side === 'up' }, postgres_changes: [] } }]))
      assert.equal((await this.reply(ref)).status, 'ok')
    }
    return this
  }

  #take(data, binary) {
    if (binary) {
      const [kind, topic, event, meta] = data
      const at = 5 + topic
      if (kind === 4 && data.subarray(at, at + event).toString() === 'receipt') {
        this.receipts.push(JSON.parse(data.subarray(at + event + meta).toString()))
      }
      return
    }
    const [, ref, , event, payload] = JSON.parse(data)
    if (event === 'phx_reply') { this.replies.set(ref, payload) }
  }

  reply(ref) { return until(() => this.replies.get(ref), `reply to ${ref}`) }

  // `payload` is text, so that tests choose every byte.
  async push(payload, { text = false, ack = true } = {}) {
    const ref = String(++this.ref)
    const topic = `realtime:petrel:up:${this.name}`
    if (text) {
      this.socket.send(`["${this.up}","${ref}","${topic}","broadcast",` +
        `{"type":"broadcast","event":"events","payload":${payload}}]`)
    } else {
      this.socket.send(Buffer.concat([
        Buffer.from([3, this.up.length, ref.length, topic.length, 6, 0, 1]),
        Buffer.from(`${this.up}${ref}${topic}events${payload}`)]))
    }
    if (ack) { assert.equal((await this.reply(ref)).status, 'ok') }
  }

  event(n, data = `{"n":${n}}`) {
    return `{"seq":${this.first + n},"timestamp":"2026-11-24T17:59:26.123Z","ts_err_ms":5,` +
      `"mono_ms":${1000 + n},"event_type":"temperature","source":"probe","severity":"info",` +
      `"data":${data}}`
  }

  // Events `from` to `to` (not included); `more` adds or replaces members.
  batch(from, to, more = {}) {
    const events = []
    for (let n = from; n < to; n++) { events.push(this.event(n)) }
    const head = { v: 1, device: this.name, epoch: this.epoch, boot: 'b0', floor: this.first,
      sent_ms: Date.now(), gaps: [], ends: [], ...more }
    return JSON.stringify(head).replace(/}$/, `,"events":[${more.raw ?? events.join()}]}`)
  }

  close() { this.socket.terminate() }
}
