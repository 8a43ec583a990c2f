// Starts petrel-realtime for a test, on a free port with its own secret and certificates, and
// stops it again. Its counters are in DIR/stats.

import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export async function startServer(binary, { secret, args = [] }) {
  const dir = mkdtempSync(join(tmpdir(), 'petrel-realtime-'))
  const secretFile = join(dir, 'secret')
  writeFileSync(secretFile, secret, { mode: 0o600 })
  const child = spawn(binary, ['--listen', '127.0.0.1:0', '--tls-dir', join(dir, 'tls'),
    '--jwt-secret-file', secretFile, '--stats-file', join(dir, 'stats'), ...args],
  { stdio: ['ignore', 'pipe', 'inherit'] })
  process.on('exit', () => child.kill('SIGKILL')) // a failed test leaves nothing behind
  const exited = new Promise((resolve) => { child.on('exit', (code, sig) => resolve(code ?? sig)) })
  const ready = await new Promise((resolve, reject) => {
    let text = ''
    child.stdout.on('data', (data) => {
      text += data
      if (text.includes('\n')) { resolve(text) }
    })
    child.on('error', reject)
    exited.then((code) => reject(new Error(`petrel-realtime ended with ${code}`)))
  })
  const [, url, caFile] = /ready (\S+) ca=(\S+)/.exec(ready)
  return {
    url,
    port: Number(new URL(url).port),
    caFile,
    ca: readFileSync(caFile),
    secret,
    secretFile,
    dir,
    pid: child.pid,
    exited,
    async stop(signal = 'SIGTERM') {
      child.kill(signal)
      const code = await exited
      rmSync(dir, { recursive: true })
      return code
    },
  }
}
