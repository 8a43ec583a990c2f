// Goal: every input gives the same verdict on the same text, a refusal says byte and reason and costs
// nothing else, and nothing that comes in crashes the agent. Method: the lines of R13 (public reports
// about lenient JSON parsers, test/data/json) and more through standard input, datagram socket,
// seqpacket socket (Python, which has SEQPACKET) and `petrel emit`, compared with each other and with
// what was expected; then datagrams that are cut, empty, padded; bytes at random; full sockets.

import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { bench, until } from './support.mjs'

const data = (name) => readFileSync(new URL(`../../data/json/${name}`, import.meta.url), 'latin1')
  .split('\n').filter((line) => line !== '')
const sockets = fileURLToPath(new URL('sockets.py', import.meta.url))

// Messages through a socket; the replies where there are any.
function send(kind, path, messages) {
  const run = spawnSync('python3', [sockets, kind, path],
    { input: JSON.stringify(messages.map((m) => Buffer.from(m, 'latin1').toString('hex'))),
      encoding: 'utf8', timeout: 60000 })
  assert.equal(run.status, 0, run.stderr)
  return JSON.parse(run.stdout)
}

async function running(t, settings = {}) {
  const b = bench(t)
  const server = await b.server()
  const config = b.configure(server, { ...settings,
    inputs: { datagram: b.file('dgram.sock'), ...settings.inputs },
    agent: { status_s: 0, log_level: 'debug', ...settings.agent } })
  const agent = b.agent(config, { stdin: 'pipe' })
  await b.joined(config, agent)
  return { b, config, agent }
}

const verdict = (reply) => (reply.accepted === true ? 'accepted' : `${reply.error} (byte ${reply.offset})`)

test('the same verdict everywhere', async (t) => {
  const { b, config, agent } = await running(t, { inputs: { stdin: 'yes' } })
  const accept = data('r13_accept.txt')
  const refuse = data('r13_refuse.txt')
  assert.ok(accept.length >= 5 && refuse.length >= 30)
  const lines = [...accept, ...refuse]
  const replies = send('seqpacket', b.file('agent.sock'), lines).map(JSON.parse).map(verdict)
  replies.forEach((r, i) => {
    if (i < accept.length) { assert.equal(r, 'accepted', lines[i]) } else {
      assert.match(r, /^.+ \(byte \d+\)$/, lines[i])
    }
  })
  const seq = (await b.status(config)).inputs.seqpacket
  assert.equal(seq.accepted, accept.length)
  assert.equal(seq.malformed + seq.reserved + seq.too_large, refuse.length)

  for (const line of lines) { agent.stdin.write(Buffer.from(`${line}\n`, 'latin1')) }
  await until(async () => {
    const s = (await b.status(config)).inputs.stdin
    return s.accepted + s.malformed + s.reserved + s.too_large === lines.length
  }, 'stdin read')
  assert.deepEqual((await b.status(config)).inputs.stdin, { ...seq })

  send('datagram', b.file('dgram.sock'), lines)
  await until(async () => {
    const s = (await b.status(config)).inputs.datagram
    return s.accepted + s.malformed + s.reserved + s.too_large === lines.length
  }, 'datagrams read')
  assert.deepEqual((await b.status(config)).inputs.datagram, { ...seq })

  for (const [i, line] of lines.entries()) {
    // An argument is text; lines that are not UTF-8 or hold NUL go through the sockets only.
    if (/[\x80-\xff\0]/.test(line)) { continue }
    const { code, out, err } = await b.command('emit', '--json', line, '-c', config)
    assert.equal(code, i < accept.length ? 0 : 1, line)
    if (code === 1) { assert.equal(err.trim(), `petrel: refused: ${replies[i]}`) } else {
      assert.equal(JSON.parse(out).accepted, true)
    }
  }
  agent.stdin.end()
  assert.equal(await agent.exited, 0, agent.text)
})

test('datagrams: whole lines are taken, cut ones are told from bad ones', async (t) => {
  const { b, config, agent } = await running(t)
  const ev = (n, pad = 0) => JSON.stringify({ event_type: 'd', data: { n, p: 'x'.repeat(pad) } })
  const path = b.file('dgram.sock')
  assert.equal(statSync(path).mode & 0o777, 0o660)
  send('datagram', path, ['', '\n', '\n\n\n', `${ev(1)}\n${ev(2)}`, `${ev(3)}\n${ev(4).slice(0, 20)}`,
    `${ev(5)}${'\0'.repeat(40)}`, '<14>syslog line', ev(6, 17000),
    Array.from({ length: 5 }, (_, i) => ev(10 + i, 14000)).join('\n'), '\0\0\0'])
  await until(async () => (await b.status(config)).inputs.datagrams === 10, 'all read')
  const { inputs } = await b.status(config)
  // Taken: 1, 2, 3, 5 and four of the five in the 70 kB datagram, whose fifth is cut.
  assert.deepEqual(inputs.datagram, { v: 1, accepted: 8, malformed: 2, too_large: 2, reserved: 0 })
  assert.equal(inputs.datagrams_truncated, 1)
  assert.equal(await agent.end(), 0, agent.text)
})

test('what the kernel took is accounted for, also after a pause', async (t) => {
  const { b, config, agent } = await running(t)
  const messages = Array.from({ length: 3000 }, (_, n) => `{"event_type":"d","data":{"n":${n}}}`)
  agent.kill('SIGSTOP')
  const took = spawn('python3', [sockets, 'datagram-count', b.file('dgram.sock')],
    { stdio: ['pipe', 'pipe', 'inherit'] })
  took.stdin.end(JSON.stringify(messages.map((m) => Buffer.from(m).toString('hex'))))
  let text = ''
  for await (const chunk of took.stdout) { text += chunk }
  agent.kill('SIGCONT')
  const counts = JSON.parse(text)
  assert.ok(counts.refused > 0, 'the queue of the socket was full')
  await until(async () => (await b.status(config)).inputs.datagram.accepted === counts.took,
    'as many as the kernel took')
  assert.equal(await agent.end(), 0, agent.text)
})

test('seqpacket: one reply a message, in order, whatever comes', async (t) => {
  const { b, config, agent } = await running(t, { delivery: { durability: 'sync' } })
  const ev = (n) => `{"event_type":"d","data":{"n":${n}}}`
  assert.equal(statSync(b.file('agent.sock')).mode & 0o777, 0o660)
  const messages = []
  for (let n = 0; n < 60; n++) { messages.push(ev(n), n % 7 === 0 ? 'bad' : ev(n)) }
  messages.push(`{"event_type":"d","data":{"p":"${'x'.repeat(20000)}"}}`, '{"petrel":"status"}',
    '{"petrel":"nonsense"}', '{"petrel":7}', 'null', '[]', '\0', ev(99))
  const replies = send('seqpacket', b.file('agent.sock'), messages).map(JSON.parse)
  assert.equal(replies.length, messages.length)
  let last = -1
  messages.forEach((m, i) => {
    if (m.startsWith('{"event_type"') && m.length < 1000) {
      assert.equal(replies[i].accepted, true, m)
      assert.equal(replies[i].durable, true) // at sync a reply says that it is on disk
      assert.ok(replies[i].seq > last)
      last = replies[i].seq
    } else if (m === '{"petrel":"status"}') {
      assert.equal(replies[i].petrel, 'status')
    } else {
      assert.equal(typeof replies[i].error, 'string', m)
    }
  })
  // The same without waiting for replies in between.
  const burst = send('seqpacket-burst', b.file('agent.sock'), messages).map(JSON.parse)
  assert.deepEqual(burst.map((r) => Object.keys(r)[0]), replies.map((r) => Object.keys(r)[0]))
  const s = await b.status(config)
  assert.equal(s.events.emitted, s.inputs.seqpacket.accepted)
  assert.equal(await agent.end(), 0, agent.text)
})

test('bytes at random, clients that vanish or do not read: the agent lives', async (t) => {
  const { b, config, agent } = await running(t, { inputs: { stdin: 'yes' } })
  let x = 12345
  const random = () => { x = (x * 1103515245 + 12345) & 0x7fffffff; return x >> 8 }
  const noise = Array.from({ length: 400 }, () => Array.from({ length: random() % 300 },
    () => String.fromCharCode(random() & 255)).join(''))
  const shapes = noise.map((n) => `{"event_type":"${n}","data":{"${n}":[${n}]}}`)
  for (const bytes of [...noise, ...shapes]) { agent.stdin.write(Buffer.from(bytes + '\n', 'latin1')) }
  send('datagram', b.file('dgram.sock'), [...noise, ...shapes])
  send('seqpacket', b.file('agent.sock'), [...noise.filter((n) => n !== ''), ...shapes])
  send('seqpacket-vanish', b.file('agent.sock'), shapes)
  send('seqpacket-deaf', b.file('agent.sock'), Array(2000).fill('{"petrel":"status"}'))
  send('seqpacket-crowd', b.file('agent.sock'), ['{"petrel":"status"}'])
  assert.equal((await b.command('emit', 'still', 'alive=true', '-c', config)).code, 0)
  const s = await b.status(config)
  assert.equal(s.state, 'delivering')
  agent.stdin.end()
  assert.equal(await agent.exited, 0, agent.text)
  assert.doesNotMatch(agent.text, /invariant/)
})
