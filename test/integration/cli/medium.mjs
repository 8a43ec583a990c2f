// Goal: when the journal's medium fails or hangs under a running agent, applications get an answer
// each, in order and true, and the agent can be stopped within its time, saying what it lost. Method:
// the binary with fdatasync replaced (slow_disk.c), switched while the agent runs.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { bench, until } from './support.mjs'

const sockets = fileURLToPath(new URL('sockets.py', import.meta.url))

// Replies to messages that were all sent before the first reply is read.
async function burst(b, messages) {
  const run = spawn('python3', [sockets, 'seqpacket-burst', b.file('agent.sock')],
    { stdio: ['pipe', 'pipe', 'inherit'] })
  run.stdin.end(JSON.stringify(messages.map((m) => Buffer.from(m).toString('hex'))))
  let text = ''
  for await (const chunk of run.stdout) { text += chunk }
  return JSON.parse(text).map(JSON.parse)
}

const ev = (n) => `{"event_type":"d","data":{"n":${n}}}`

async function running(t, settings = {}) {
  const b = bench(t)
  const server = await b.server()
  const config = b.configure(server, { ...settings, agent: { status_s: 0, ...settings.agent } })
  const disk = (word) => writeFileSync(b.file('disk'), word)
  disk('good')
  const agent = b.agent(config, { env: { LD_PRELOAD: process.env.PETREL_SLOW_DISK,
    PETREL_TEST_DISK: b.file('disk'),
    ASAN_OPTIONS: `${process.env.ASAN_OPTIONS ?? ''}:verify_asan_link_order=0` } })
  await b.joined(config, agent)
  return { b, server, config, agent, disk }
}

const emit = (b, config) => b.command('emit', 'e', 'n=1', '-c', config)

test('sync, the medium fails: what it was under is unknown, the next events live in RAM', async (t) => {
  const { b, config, agent, disk } = await running(t, { delivery: { durability: 'sync' } })
  assert.equal(JSON.parse((await emit(b, config)).out).durable, true)
  disk('fail')
  const first = JSON.parse((await emit(b, config)).out || '{"accepted":null}')
  assert.equal(first.accepted, null)
  for (let n = 0; n < 3; n++) {
    const reply = await emit(b, config)
    assert.equal(reply.code, 0, reply.err)
    assert.equal(JSON.parse(reply.out).durable, false)
  }
  const replies = await burst(b, Array.from({ length: 40 }, (_, n) => ev(n)))
  assert.equal(replies.length, 40)
  assert.ok(replies.every((r) => r.accepted === true && r.durable === false))
  assert.match(agent.text, /the journal failed: .*Input\/output error/)
  assert.doesNotMatch(agent.text, /works again/)
  await until(async () => (await b.status(config)).events.held === 0, 'all delivered')
  assert.equal(await agent.end(), 0, agent.text)
})

test('sync: a question behind events that wait for the medium is answered after them', async (t) => {
  const { b, agent, disk } = await running(t, { delivery: { durability: 'sync' } })
  disk('hang')
  const asked = burst(b, [ev(1), ev(2), '{"petrel":"status"}', ev(3), 'bad', '{"petrel":"wait"}'])
  await new Promise((resolve) => { setTimeout(resolve, 300) })
  disk('good')
  const what = (r) => (r.petrel ?? (r.error === undefined ? r.durable : 'error'))
  assert.deepEqual((await asked).map(what), [true, true, 'status', true, 'error', 'status'])
  assert.equal(await agent.end(), 0, agent.text)
})

test('SIGTERM while the medium hangs: the agent ends within its time', async (t) => {
  const { b, config, agent, disk } = await running(t,
    { delivery: { durability: 'sync' }, agent: { drain_ms: 5000 } }) // divided by time_scale
  assert.equal((await emit(b, config)).code, 0)
  disk('hang')
  void burst(b, [ev(1)]).catch(() => {})
  await until(async () => (await b.status(config)).events.emitted === 2, 'an event is under way')
  const began = Date.now()
  const code = await Promise.race([agent.end(),
    new Promise((resolve) => { setTimeout(resolve, 10000, 'still there') })])
  assert.notEqual(code, 'still there')
  assert.ok(Date.now() - began < 5000)
  assert.notEqual(code, 0)
  assert.match(agent.text, /the medium does not answer/)
})

for (const durability of ['ram', 'spill']) {
  test(`SIGTERM without a link and without a medium (${durability}): waits for the link`, async (t) => {
    const { b, server, config, agent, disk } = await running(t,
      { delivery: { durability }, agent: { drain_ms: 15000 } })
    assert.equal((await emit(b, config)).code, 0)
    disk('fail')
    await server.stop()
    await until(async () => !(await b.status(config)).link.joined, 'the link is down')
    await until(async () => (await emit(b, config)).code === 0, 'an event is taken')
    if (durability === 'spill') {
      await until(async () => (await b.status(config)).journal.failed, 'the medium failed')
      assert.equal((await emit(b, config)).code, 0)
    }
    const began = Date.now()
    const code = await agent.end()
    assert.ok(Date.now() - began > 1000, 'it waited for the link')
    assert.equal(code, 1, agent.text)
    assert.match(agent.text, /\d+ events were only in RAM and are gone/)
  })
}
