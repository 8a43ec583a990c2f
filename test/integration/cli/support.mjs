// What the tests of the petrel binary share: a server, a configuration, an agent, commands. Each
// bench is a folder of its own; what it started ends with it.

import { execFile, execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { startServer } from '../server/process.mjs'

process.setMaxListeners(100) // each server ends with this process

export const petrel = process.env.PETREL
export const realtime = process.env.PETREL_REALTIME

export async function until(what, label, within = 20000) {
  const end = Date.now() + within
  for (;;) {
    const value = await what()
    if (value) { return value }
    if (Date.now() > end) { throw new Error(`after ${within} ms still not: ${label}`) }
    await new Promise((resolve) => { setTimeout(resolve, 20) })
  }
}

// On a disk: /tmp may be a file system in RAM, where `sync` is refused.
export function bench(t) {
  const dir = mkdtempSync('/var/tmp/petrel-cli-')
  const children = new Set()
  const closers = []
  t.after(async () => {
    for (const child of children) { child.kill('SIGKILL') }
    for (const close of closers) { await close() }
    rmSync(dir, { recursive: true, force: true })
  })
  const file = (name) => join(dir, name)
  const write = (name, text, mode = 0o600) => {
    writeFileSync(file(name), text, { mode })
    return file(name)
  }
  const secret = randomBytes(16).toString('hex')

  async function server(...args) {
    const s = await startServer(realtime, { secret, args: ['--time-scale', '10', ...args] })
    const stop = s.stop.bind(s)
    let stopped = null
    s.stop = () => (stopped ??= stop()) // a test may do it before the end does
    closers.push(() => s.stop())
    return s
  }

  const mint = (...args) => execFileSync(realtime,
    ['mint', '--jwt-secret-file', write('secret', secret), ...args]).toString().trim()

  // Settings are { section: { key: value } }; null leaves one out.
  function configure(server, settings = {}, name = 'agent.ini') {
    write('anon', mint('--role', 'anon'))
    write('token', mint('--role', 'petrel_device', '--device', 'dev-1'))
    const base = {
      server: { url: `https://localhost:${server.port}`, key_file: file('anon'),
        token_file: file('token'), ca_file: server.caFile },
      delivery: {},
      batch: { messages_per_s: 0 },
      journal: { bytes: '4 MiB', block_bytes: '64 KiB', commit_ms: 100 },
      inputs: { seqpacket: file('agent.sock') },
      agent: { state_dir: file('state'), time_scale: 10 },
    }
    let text = ''
    for (const section of new Set([...Object.keys(base), ...Object.keys(settings)])) {
      text += `[${section}]\n`
      for (const [key, value] of Object.entries({ ...base[section], ...settings[section] })) {
        if (value !== null) { text += `${key} = ${value}\n` }
      }
    }
    return write(name, text)
  }

  // `petrel run`, its log in .text, its end in .exited.
  function agent(config, { stdin = 'ignore', env = {} } = {}) {
    const child = spawn(petrel, ['run', '-c', config],
      { stdio: [stdin, 'inherit', 'pipe'], env: { ...process.env, ...env } })
    children.add(child)
    child.text = ''
    child.stderr.setEncoding('utf8').on('data', (data) => { child.text += data })
    child.exited = new Promise((resolve) => {
      child.on('close', (code, signal) => { children.delete(child); resolve(code ?? signal) })
    })
    child.end = (signal = 'SIGTERM') => { child.kill(signal); return child.exited }
    return child
  }

  // One command to its end: { code, out, err }.
  const command = (...args) => new Promise((resolve) => {
    execFile(petrel, args, { timeout: 30000, maxBuffer: 1 << 24 }, (error, out, err) => {
      resolve({ code: error ? (error.code ?? error.signal) : 0, out, err })
    })
  })

  async function status(config) {
    const { code, out } = await command('status', '--json', '-c', config)
    return code === 0 ? JSON.parse(out) : null
  }

  async function joined(config, child) {
    await until(async () => {
      if (child.exitCode !== null) { throw new Error(`the agent ended:\n${child.text}`) }
      return (await status(config))?.link.joined
    }, 'the agent is joined')
  }

  return { dir, file, write, server, mint, configure, agent, command, status, joined,
    mkdir: (name) => { mkdirSync(file(name)); return file(name) } }
}
