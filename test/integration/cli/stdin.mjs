// Goal: 10,000 events given to `petrel run` on standard input, over verified TLS, are seen by an
// unmodified supabase-js client, each at least once, byte for byte, and the agent ends with 0. Then:
// standard input is fair (bad lines cost only themselves) and a full queue holds the writer back
// instead of dropping. Method: real binaries, the service's client in a process of its own (Node reads
// NODE_EXTRA_CA_CERTS at its start only).

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { bench, until } from './support.mjs'

// Rows that a service client sees on the device's uplink: Map of n to event.
async function subscriber(b, server) {
  const child = spawn(process.execPath,
    [fileURLToPath(new URL('subscriber.mjs', import.meta.url)), `https://localhost:${server.port}`,
      'petrel:up:dev-1'],
    { stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, NODE_EXTRA_CA_CERTS: server.caFile } })
  child.stdin.write(JSON.stringify({ anon: b.mint('--role', 'anon'),
    service: b.mint('--role', 'service_role') }) + '\n')
  const seen = new Map()
  let ready = false
  let rest = ''
  child.stdout.setEncoding('utf8').on('data', (data) => {
    rest += data
    const lines = rest.split('\n')
    rest = lines.pop()
    for (const line of lines) {
      if (line === 'ready') { ready = true; continue }
      for (const event of JSON.parse(line).events) {
        if (event.data.n !== undefined) { seen.set(event.data.n, event) }
      }
    }
  })
  await until(() => ready, 'the subscriber is there')
  return { seen, end: () => child.kill() }
}

test('10,000 events, none missing', async (t) => {
  const b = bench(t)
  const server = await b.server()
  const sub = await subscriber(b, server)
  t.after(() => sub.end())
  const agent = b.agent(b.configure(server, { inputs: { stdin: 'yes' }, agent: { status_s: 0 } }),
    { stdin: 'pipe' })
  for (let n = 0; n < 10000; n++) {
    agent.stdin.write(`{"event_type":"sample","source":"p${n % 7}","data":{"n":${n},"t":"žluť \\u2603 ${n}"}}\n`)
  }
  agent.stdin.end()
  assert.equal(await agent.exited, 0, agent.text)
  await until(() => sub.seen.size === 10000, `all seen, not ${sub.seen.size}`)
  let last = -1
  for (let n = 0; n < 10000; n++) {
    const event = sub.seen.get(n)
    assert.equal(event.data.t, `žluť \u2603 ${n}`)
    assert.equal(event.source, `p${n % 7}`)
    assert.ok(event.seq > last, 'numbers ascend')
    last = event.seq
  }
  assert.match(agent.text, /10000 events emitted, 10000 acknowledged, 0 held, 0 lost, 0 uncertain/)
})

test('bad lines cost only themselves', async (t) => {
  const b = bench(t)
  const server = await b.server()
  const config = b.configure(server, { inputs: { stdin: 'yes' }, agent: { status_s: 0 } })
  const agent = b.agent(config, { stdin: 'pipe' })
  await b.joined(config, agent)
  const good = (n) => `{"event_type":"e","data":{"n":${n}}}`
  const lines = [good(1), 'no json', '', '\r', `{"event_type":"e","data":{"p":"${'x'.repeat(20000)}"}}`,
    good(2) + '\r', '\0\0\0', `${'y'.repeat(300000)}`, good(3), '{"event_type":"petrel.x","data":{}}',
    '\xff\xfe', ` ${good(4)} `, good(5)]
  // Split where it hurts: in the middle of lines, and with no line feed at the end.
  const bytes = Buffer.from(lines.join('\n'), 'latin1')
  for (let at = 0; at < bytes.length; at += 70001) {
    agent.stdin.write(bytes.subarray(at, at + 70001))
    await new Promise((resolve) => { setTimeout(resolve, 30) })
  }
  await until(async () => (await b.status(config)).inputs.stdin.accepted >= 4, 'four are in')
  const s = await b.status(config)
  assert.deepEqual(s.inputs.stdin,
    { v: 1, accepted: 4, malformed: 3, too_large: 2, reserved: 1 })
  assert.equal(s.events.rejected, 6)
  agent.stdin.end() // the last line has no feed
  assert.equal(await agent.exited, 0, agent.text)
  assert.match(agent.text, /stopped: 5 events emitted, 5 acknowledged/)
  assert.match(agent.text, /stdin line 2 refused: .*\(byte \d+\)/)
})

test('a full queue holds the writer back', async (t) => {
  const b = bench(t)
  const server = await b.server()
  // Without a journal and with 20 messages a second the queue of 64 KiB is soon full.
  const config = b.configure(server, {
    inputs: { stdin: 'yes', eof_drain_ms: 30000 },
    queue: { bytes: '64 KiB' },
    batch: { messages_per_s: 20, burst: 1 },
    delivery: { durability: 'ram' },
    journal: { enabled: 'no' },
    agent: { status_s: 0 },
  })
  const agent = b.agent(config, { stdin: 'pipe' })
  await b.joined(config, agent)
  let fed = 0
  const pad = 'x'.repeat(1000)
  while (fed < 1500) {
    fed++
    if (!agent.stdin.write(`{"event_type":"e","data":{"n":${fed},"pad":"${pad}"}}\n`)) {
      await new Promise((resolve) => { agent.stdin.once('drain', resolve) })
    }
  }
  agent.stdin.end()
  assert.equal(await agent.exited, 0, agent.text)
  assert.match(agent.text, /stopped: 1500 events emitted, 1500 acknowledged, 0 held, 0 lost, 0 uncertain, 0 rejected/)
})

test('SIGTERM: what is held is in the journal, the next run replays it', async (t) => {
  const b = bench(t)
  const server = await b.server()
  const settings = { inputs: { stdin: 'yes' }, agent: { status_s: 0 } }
  const config = b.configure(server, settings)
  const nowhere = b.configure({ port: 1, caFile: server.caFile }, settings, 'nowhere.ini')
  const first = b.agent(nowhere, { stdin: 'pipe' })
  for (let n = 0; n < 500; n++) { first.stdin.write(`{"event_type":"e","data":{"n":${n}}}\n`) }
  await until(async () => (await b.status(nowhere))?.events.emitted === 500, 'all in')
  assert.equal(await first.end(), 0, first.text)
  assert.match(first.text, /stopped: 500 events emitted, 0 acknowledged, 500 held, 0 lost/)
  const { code, out } = await b.command('journal', 'verify', b.file('state/journal.ptl'))
  assert.equal(code, 0)
  assert.match(out, /500 not yet delivered, 0 damaged/)
  const sub = await subscriber(b, server)
  t.after(() => sub.end())
  const second = b.agent(config, { stdin: 'pipe' })
  await until(() => sub.seen.size === 500, 'all replayed')
  second.stdin.end()
  assert.equal(await second.exited, 0, second.text)
})
