// A world of real processes on this machine, for the demo and for the tests of the agent:
// petrel-realtime with TLS and a test CA, petrel-collector, petrel-faultproxy between the agent and
// the server, `petrel run`, and petrel-source as the application. Everything lives in one private
// folder; only what was started here is ended here.
//
// Times are given as they are outside of tests. `scale` divides them: 10 by default,
// PETREL_TIME_SCALE=1 runs the tests unscaled.

import { execFile, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)
const root = join(dirname(fileURLToPath(import.meta.url)), '../../..')

export const scale = Number(process.env.PETREL_TIME_SCALE ?? 10)
export const ms = (real, by = scale) => Math.max(1, Math.round(real / by))
export const pause = (wait) => new Promise((resolve) => { setTimeout(resolve, wait) })

// Waits until what() gives something true, which it returns.
export async function until(what, label, within = 20000 * Math.max(1, 10 / scale)) {
  const end = Date.now() + within
  for (;;) {
    const value = await what()
    if (value) { return value }
    if (Date.now() > end) {
      throw new Error(`after ${within} ms still not: ${label}`)
    }
    await pause(15)
  }
}

const running = new Set()
const folders = new Set()

function sweep() {
  for (const child of running) { child.kill('SIGKILL') }
  for (const folder of folders) { rmSync(folder, { recursive: true, force: true }) }
}
process.on('exit', sweep)
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => process.exit(130)) // the sweep above follows
}

// One child process. Its stderr goes to a file; `line` sees every line of its standard output.
class Part {
  constructor(world, name, file, args, { stdin = 'ignore', env = world.env, line = () => {} } = {}) {
    this.name = name
    this.log = join(world.dir, `${name}.log`)
    this.text = ''
    this.child = spawn(file, args,
      { stdio: [stdin, 'pipe', 'pipe'], cwd: world.dir, env })
    running.add(this.child)
    world.parts.push(this)
    let rest = ''
    this.child.stdout.setEncoding('utf8').on('data', (data) => {
      rest += data
      const lines = rest.split('\n')
      rest = lines.pop()
      for (const one of lines) { line(one) }
    })
    this.child.stderr.setEncoding('utf8').on('data', (data) => { this.text += data })
    this.exited = new Promise((resolve, reject) => {
      this.child.on('error', reject)
      this.child.on('exit', (code, signal) => {
        running.delete(this.child)
        this.code = code ?? signal
        resolve(this.code)
      })
    })
    this.exited.catch(() => {})
  }

  get alive() { return running.has(this.child) }

  async end(signal = 'SIGTERM') {
    if (this.alive) { this.child.kill(signal) }
    return this.exited
  }
}

function locate(build, path) {
  const file = join(build, path)
  if (!existsSync(file)) {
    throw new Error(`${file} is not there: build first (tools/dev build), or set PETREL_BUILD`)
  }
  return file
}

export class World {
  constructor({ device = 'gw-1', timeScale = scale, build = process.env.PETREL_BUILD } = {}) {
    const from = build ?? join(root, 'build/dev')
    this.device = device
    this.scale = timeScale
    // A path of a socket has 107 bytes.
    this.dir = mkdtempSync(join(tmpdir().length < 70 ? tmpdir() : '/tmp', 'petrel-'))
    folders.add(this.dir)
    this.parts = []
    this.env = { PATH: process.env.PATH, HOME: this.dir, TMPDIR: this.dir }
    this.bin = {
      petrel: locate(from, 'firmware/linux/petrel'),
      realtime: locate(from, 'tools/realtime/petrel-realtime'),
      collector: locate(from, 'tools/collector/petrel-collector'),
      proxy: locate(from, 'tools/faultproxy/petrel-faultproxy'),
      source: locate(from, 'tools/demo/petrel-source'),
    }
    this.ca = this.file('tls/ca.pem')
    this.db = this.file('events.db')
  }

  file(name) { return join(this.dir, name) }
  ms(real) { return ms(real, this.scale) }

  // Starts a part and waits for the line that says it is ready.
  async start(name, file, args, ready, options) {
    let match
    const part = new Part(this, name, file, args,
      { ...options, line: (text) => { match ??= ready.exec(text); options?.line?.(text) } })
    await until(() => match || !part.alive, `${name} is ready`)
    if (!match) {
      throw new Error(`${name} ended with ${part.code}:\n${part.text}`)
    }
    part.ready = match
    return part
  }

  // The server keeps its port from one start to the next.
  async startServer(...args) {
    this.server = await this.start('server', this.bin.realtime,
      ['--listen', `127.0.0.1:${this.serverPort ?? 0}`, '--tls-dir', this.file('tls'),
        '--jwt-secret-file', this.file('secret'), '--time-scale', String(this.scale), ...args],
      /ready wss:\/\/[^:]+:(\d+)/)
    this.serverPort = Number(this.server.ready[1])
    return this.server
  }

  async mint(out, ...args) {
    if (!existsSync(this.file(out))) {
      await run(this.bin.realtime, ['mint', '--jwt-secret-file', this.file('secret'),
        '--ttl', '86400', '--out', this.file(out), ...args])
    }
    return this.file(out)
  }

  // A proxy in front of the server; `link` sends it commands.
  async startProxy(name = 'proxy') {
    const control = this.file(`${name}.ctl`)
    const part = await this.start(name, this.bin.proxy,
      ['--listen', '127.0.0.1:0', '--to', `127.0.0.1:${this.serverPort}`, '--control', control],
      /ready listen=[^ ]+:(\d+) /)
    part.port = Number(part.ready[1])
    part.link = async (command) => {
      const { stdout } = await run(this.bin.proxy, ['ctl', control, ...command.split(' ')])
      if (!stdout.startsWith('ok') && !stdout.startsWith('{')) {
        throw new Error(`${name}: ${command}: ${stdout}`)
      }
      return stdout
    }
    return part
  }

  async startCollector({ port = this.serverPort, receipts = 'main', args = [] } = {}) {
    const key = await this.mint('service', '--role', 'service_role')
    const times = { 'heartbeat-ms': 25000, 'join-timeout-ms': 12000, 'connect-timeout-ms': 10000,
      'backoff-base-ms': 1000, 'backoff-cap-ms': 5000, 'reset-ms': 30000, 'slow-ms': 10000,
      'receipt-ms': 1000, 'check-ms': 1000, 'status-ms': 1000 }
    this.collector = await this.start('collector', this.bin.collector,
      ['--url', `wss://localhost:${port}`, '--ca-file', this.ca, '--key-file', key,
        '--device', this.device, '--db', this.db, '--status-file', this.file('collector.json'),
        ...(receipts ? ['--receipts', receipts] : []),
        ...Object.entries(times).flatMap(([name, real]) => [`--${name}`,
          String(Math.max(this.ms(real), name === 'heartbeat-ms' || name.endsWith('timeout-ms')
            ? 100 : 10))]), ...args],
      /ready/)
    return this.collector
  }

  // Settings are `{ section: { key: value } }` on top of these; times of keys in them are as given.
  async configure(port, settings = {}, name = 'agent') {
    const base = {
      server: {
        url: `https://localhost:${port}`,
        key_file: await this.mint('anon', '--role', 'anon'),
        token_file: await this.mint('token', '--role', 'petrel_device', '--device', this.device),
        ca_file: this.ca,
      },
      device: { id: this.device },
      delivery: { delivery: 'stored' },
      batch: { max_delay_ms: this.ms(1000), messages_per_s: this.scale, burst: 10 },
      journal: { commit_ms: Math.max(10, this.ms(1000)), bytes: '4 MiB', block_bytes: '64 KiB' },
      inputs: { seqpacket: this.file('agent.sock') },
      agent: { state_dir: this.file('state'), time_scale: this.scale, log_level: 'debug' },
    }
    let text = ''
    for (const section of new Set([...Object.keys(base), ...Object.keys(settings)])) {
      text += `[${section}]\n`
      for (const [key, value] of Object.entries({ ...base[section], ...settings[section] })) {
        text += `${key} = ${value}\n`
      }
    }
    const file = this.file(`${name}.ini`)
    writeFileSync(file, text, { mode: 0o600 })
    return file
  }

  startAgent(file, options) {
    this.agentConfig = file
    this.agent = new Part(this, 'agent', this.bin.petrel, ['run', '-c', file], options)
    return this.agent
  }

  // The status report, null while there is no agent.
  async status() {
    try {
      const { stdout } = await run(this.bin.petrel, ['status', '--json', '-c', this.agentConfig],
        { env: this.env, timeout: 5000 })
      return JSON.parse(stdout)
    } catch {
      return null
    }
  }

  async agentReady() {
    await until(async () => {
      if (!this.agent.alive) {
        throw new Error(`the agent ended with ${this.agent.code}:\n${this.agent.text}`)
      }
      return (await this.status())?.link.joined
    }, 'the agent is joined')
  }

  // The application. `tally` is its newest count; `say` sends a command and gives the answer.
  startSource({ rate = 200, count, pad, log = 'answers.log' } = {}) {
    const waiting = []
    const part = new Part(this, 'source', this.bin.source,
      ['--socket', this.file('agent.sock'), '--rate', String(rate), '--log', this.file(log),
        ...(count ? ['--count', String(count)] : []), ...(pad ? ['--pad', String(pad)] : [])],
      {
        stdin: 'pipe',
        line: (text) => {
          part.tally = JSON.parse(text)
          waiting.forEach((look) => look())
        },
      })
    part.child.stdin.on('error', () => {})
    part.tally = { emitted: 0, accepted: 0, refused: 0, unanswered: 0, paused: false }
    part.say = async (command, there) => {
      part.child.stdin.write(`${command}\n`)
      await until(() => there(part.tally), `the source does: ${command}`)
      return part.tally
    }
    part.hold = () => part.say('pause', (tally) => tally.paused)
    part.resume = () => part.say('resume', (tally) => !tally.paused)
    part.answers = () => answers(this.file(log))
    this.source = part
    return part
  }

  // Rows of one query on the collector's file, [] while there is no file yet.
  query(sql, ...args) {
    if (!this.store) {
      if (!existsSync(this.db)) { return [] }
      this.store = new DatabaseSync(this.db, { readOnly: true, timeout: 5000 })
    }
    try {
      return this.store.prepare(sql).all(...args)
    } catch (error) {
      if (/no such table/.test(error.message)) { return [] } // a collector that just begins
      throw error
    }
  }

  count(sql, ...args) { return Number(Object.values(this.query(sql, ...args)[0] ?? { n: 0 })[0]) }

  // Events of the source in the store, and how many different ones.
  stored() {
    return this.query(`SELECT count(*) AS events, count(DISTINCT json_extract(data, '$.n')) AS ns
      FROM monitoring_events WHERE event_type = 'demo.tick'`)[0] ?? { events: 0, ns: 0 }
  }

  duplicates() {
    return this.count(`SELECT coalesce(sum(value), 0) FROM monitoring_counters
      WHERE name = 'duplicates'`)
  }

  gaps() { return this.query('SELECT * FROM monitoring_gaps ORDER BY epoch, first') }
  ends() { return this.query('SELECT * FROM monitoring_ends ORDER BY next') }

  logs() {
    return this.parts.map((part) => `--- ${part.name}${part.alive ? '' : ` (ended: ${part.code})`}\n${
      part.text.split('\n').slice(-60).join('\n')}`).join('\n')
  }

  async close() {
    this.store?.close()
    for (const part of this.parts) { await part.end('SIGKILL').catch(() => {}) }
    if (process.env.PETREL_KEEP) {
      folders.delete(this.dir)
      for (const part of this.parts) { writeFileSync(part.log, part.text, { flag: 'a' }) }
      console.error(`kept: ${this.dir}`)
      return
    }
    rmSync(this.dir, { recursive: true, force: true })
    folders.delete(this.dir)
  }
}

// What petrel-source was told about each event: [{ n, seq, how }].
export function answers(file) {
  if (!existsSync(file)) { return [] }
  return readFileSync(file, 'utf8').split('\n').filter((line) => line !== '').map((line) => {
    const [n, seq, how] = line.split(' ')
    return { n: Number(n), seq: seq === '-' ? null : Number(seq), how }
  })
}
