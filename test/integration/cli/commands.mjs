// Goal: each word of the command line does what its help says, with the exit status it names, and
// what cannot work is refused with words. Method: the binary itself, with and without an agent.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHmac } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { bench, petrel, until } from './support.mjs'

const words = ['run', 'check-config', 'emit', 'status', 'wait', 'journal', 'sql', 'demo']

test('help and version', async (t) => {
  const b = bench(t)
  const all = await b.command('--help')
  assert.equal(all.code, 0)
  for (const word of words) {
    const { code, out } = await b.command(word, '--help')
    assert.equal(code, 0, word)
    assert.ok(out.startsWith(`petrel ${word}`), out)
    assert.ok(all.out.includes(`petrel ${word}`))
  }
  assert.match((await b.command('--version')).out, /^petrel \d+\.\d+\.\d+\n$/)
  assert.equal((await b.command()).code, 2)
  assert.equal((await b.command('fly')).code, 2)
})

test('emit: types of values, refusals, no agent', async (t) => {
  const b = bench(t)
  const server = await b.server()
  const config = b.configure(server, { agent: { status_s: 0 } })
  assert.equal((await b.command('emit', 'e', 'n=1', '-c', config)).code, 3)
  const agent = b.agent(config)
  await b.joined(config, agent)
  const { code, out } = await b.command('emit', 'e', 'n=1', 'f=-2.5e3', 'yes=true', 'none=null', 't=text',
    'zip=0123', 'q=a"b\\c', 'raw:={"a":[1]}', 'eq=a=b', '--severity', 'critical', '--source', 's',
    '--timestamp', '2026-01-01T00:00:00Z', '--wait', '-c', config)
  assert.equal(code, 0)
  assert.equal(JSON.parse(out).accepted, true)
  const refused = [[['e', '--severity', 'bad']], [['petrel.x', 'a=1']], [['e', 'a:={']],
    [['e', '--timestamp', 'now']], [['', 'a=1']], [['--json', '{}']], [['--json', 'x']]]
  for (const [args] of refused) {
    const r = await b.command('emit', ...args, '-c', config)
    assert.equal(r.code, 1, JSON.stringify(args))
    assert.match(r.err, /^petrel: refused: .+ \(byte \d+\)\n$/)
  }
  for (const args of [[], ['e', 'novalue'], ['e', '--nonsense'], ['e', '=v']]) {
    assert.equal((await b.command('emit', ...args, '-c', config)).code, 2, JSON.stringify(args))
  }
  const s = await b.status(config)
  assert.equal(s.events.emitted, 1)
  assert.equal(s.events.rejected, refused.length)
  assert.equal(await agent.end(), 0)
})

test('status: JSON and words agree, counters obey the law', async (t) => {
  const b = bench(t)
  const server = await b.server()
  const config = b.configure(server, { metrics: { cpu: 'yes', memory: 'yes', load: 'yes', interval_ms: 100 } })
  const agent = b.agent(config)
  assert.equal((await b.command('wait', '--joined', '--timeout', '20', '--socket', b.file('none'))).code, 3)
  await until(() => existsSync(b.file('agent.sock')), 'the socket')
  assert.equal((await b.command('wait', '--joined', '--timeout', '20', '-c', config)).code, 0)
  await until(async () => (await b.status(config)).events.emitted > 20, 'metrics flow')
  const s = await b.status(config)
  const { emitted, acknowledged, held, lost, uncertain } = s.events
  assert.equal(emitted, acknowledged + held + lost + uncertain)
  assert.equal(lost + uncertain, 0)
  assert.equal(s.device, 'dev-1')
  assert.equal(s.delivery, 'accepted')
  const { out } = await b.command('status', '-c', config)
  assert.match(out, /^delivering to localhost/)
  assert.match(out, /emitted = \d+ acknowledged \+ \d+ held/)
  assert.match(out, /TLSv1\.3/)
  assert.equal(await agent.end(), 0)
})

test('two agents: the second one is refused, on the journal and on the socket', async (t) => {
  const b = bench(t)
  const server = await b.server()
  const config = b.configure(server)
  const agent = b.agent(config)
  await b.joined(config, agent)
  const same = await b.command('run', '-c', config)
  assert.equal(same.code, 2)
  assert.match(same.err, /journal.* is in use by process \d+: stop that agent/)
  const other = b.configure(server, { agent: { state_dir: b.file('other') } }, 'other.ini')
  const socket = await b.command('run', '-c', other)
  assert.equal(socket.code, 2)
  assert.match(socket.err, /another agent listens on/)
  assert.equal((await b.status(config)).state, 'delivering')
  assert.equal(await agent.end(), 0)
})

test('a journal that cannot be had: RAM at spill, no start at sync', async (t) => {
  const b = bench(t)
  const server = await b.server()
  b.write('notadir', '')
  const config = b.configure(server, { agent: { state_dir: b.file('notadir') } })
  const agent = b.agent(config)
  await b.joined(config, agent)
  assert.match(agent.text, /running without a journal/)
  const s = await b.status(config)
  assert.equal(s.journal.mounted, false)
  assert.match(s.journal.why, /Not a directory/)
  assert.equal((await b.command('emit', 'e', 'n=1', '-c', config)).code, 0)
  assert.equal(await agent.end(), 0)
  const sync = b.configure(server, { agent: { state_dir: b.file('notadir') },
    delivery: { durability: 'sync' } }, 'sync.ini')
  const refused = await b.command('run', '-c', sync)
  assert.equal(refused.code, 2)
  assert.match(refused.err, /durability = sync cannot be kept/)
  // Something else in the journal's place is left alone.
  writeFileSync(b.file('precious'), 'x'.repeat(5 << 20))
  const foreign = b.configure(server, { journal: { file: b.file('precious') } }, 'foreign.ini')
  const second = b.agent(foreign)
  await b.joined(foreign, second)
  assert.match((await b.status(foreign)).journal.why, /not a Petrel journal/)
  assert.equal(await second.end(), 0)
  assert.equal(statSync(b.file('precious')).size, 5 << 20)
})

test('killed: the socket is taken over, the device keeps its name', async (t) => {
  const b = bench(t)
  const server = await b.server()
  const config = b.configure(server)
  const first = b.agent(config)
  await b.joined(config, first)
  await first.end('SIGKILL')
  assert.ok(existsSync(b.file('agent.sock')))
  const second = b.agent(config)
  await b.joined(config, second)
  assert.equal((await b.status(config)).device, 'dev-1')
  assert.equal(await second.end(), 0)
  assert.ok(!existsSync(b.file('agent.sock')))
})

test('check-config: what is wrong, or what it costs', async (t) => {
  const b = bench(t)
  const server = await b.server()
  const config = b.configure(server)
  const good = await b.command('check-config', config)
  assert.equal(good.code, 0, good.out)
  assert.match(good.out, /fine: the agent would start/)
  assert.match(good.out, /Supabase counts about/)
  writeFileSync(config, '[batch]\nburst = many\n')
  const bad = await b.command('check-config', config)
  assert.equal(bad.code, 2)
  assert.match(bad.out, /agent\.ini:2: \[batch\] burst = many: allowed is a whole number from 1 to 10000/)
  chmodSync(config, 0o600)
  const env = spawnSync(petrel, ['check-config'],
    { env: { SUPABASE_URL: '"https://x.supabase.co/"', SUPABASE_KEY: 'sb_publishable_x' }, encoding: 'utf8' })
  assert.equal(env.status, 2)
  assert.match(env.stdout, /url = "https/)
  const dos = spawnSync(petrel, ['check-config'],
    { env: { SUPABASE_URL: 'https://x.supabase.co/rest/v1\r', SUPABASE_KEY: 'sb_publishable_x\r',
      HOME: b.dir }, encoding: 'utf8' })
  assert.equal(dos.status, 0, dos.stdout)
  assert.match(dos.stdout, /wss:\/\/x\.supabase\.co:443\/realtime\/v1\/websocket/)
  assert.match(dos.stdout, /petrel sql.*private = no/)
})

test('sql prints policies for both channels', async (t) => {
  const b = bench(t)
  const { code, out } = await b.command('sql')
  assert.equal(code, 0)
  for (const part of ['petrel:up:', 'petrel:down:', 'petrel_device', 'authenticated', 'row level security',
    'realtime.topic()', 'service_role']) {
    assert.ok(out.includes(part), part)
  }
})

test('demo: finds the source tree and hands over, elsewhere says where it is', async (t) => {
  const b = bench(t)
  const run = (cwd, source, ...args) => spawnSync(petrel, ['demo', ...args],
    { cwd, encoding: 'utf8', env: { ...process.env, PETREL_SOURCE: source } })
  const lost = run(b.dir, '')
  assert.equal(lost.status, 2)
  assert.match(lost.stderr, /part of the source tree.*inside a checkout.*PETREL_SOURCE/)
  const wrong = run(b.dir, b.file('nowhere'))
  assert.equal(wrong.status, 2)
  assert.match(wrong.stderr, /nowhere holds no tools\/dev/)
  mkdirSync(b.file('tree/tools/demo'), { recursive: true })
  mkdirSync(b.file('tree/deep/down'), { recursive: true })
  b.write('tree/tools/demo/demo', '')
  b.write('tree/tools/dev', '#!/bin/sh\npwd\necho "$@"\nexit 7\n', 0o755)
  for (const [cwd, source] of [['tree', ''], ['tree/deep/down', ''], ['.', b.file('tree')]]) {
    const found = run(b.file(cwd), source, '--json', '--seconds', '3')
    assert.equal(found.status, 7, found.stderr)
    assert.equal(found.stdout, `${b.file('tree')}\ndemo --json --seconds 3\n`)
  }
})

test('an older journal with smaller blocks: named, with the mend', async (t) => {
  const b = bench(t)
  const server = await b.server()
  const config = b.configure(server)
  const agent = b.agent(config)
  await b.joined(config, agent)
  assert.equal(await agent.end(), 0)
  const larger = b.configure(server, { events: { bytes_max: 65470 }, batch: { bytes: 100000 },
    journal: { bytes: '4 MiB', block_bytes: '256 KiB' } }, 'larger.ini')
  assert.equal((await b.command('check-config', larger)).code, 0)
  const refused = await b.command('run', '-c', larger)
  assert.equal(refused.code, 2)
  assert.match(refused.err, /journal\.ptl was made with blocks of 65536 bytes.*set bytes_max to \d+/)
  const most = refused.err.match(/set bytes_max to (\d+)/)[1]
  const fits = b.configure(server, { events: { bytes_max: most }, batch: { bytes: 100000 },
    journal: { bytes: '4 MiB', block_bytes: '256 KiB' } }, 'fits.ini')
  const second = b.agent(fits)
  await b.joined(fits, second)
  assert.equal(await second.end(), 0, second.text)
})

test('a token longer than a message of the smallest batches: joins all the same', async (t) => {
  const b = bench(t)
  const server = await b.server()
  const config = b.configure(server, { events: { bytes_max: 256 }, batch: { bytes: 1024 } })
  // Claims of the user's own, as many as a provider of tokens may add.
  const claims = JSON.stringify({ role: 'petrel_device', device: 'dev-1', exp: 4102444800,
    groups: 'g'.repeat(4000) })
  const part = (text) => Buffer.from(text).toString('base64url')
  const signed = `${part('{"alg":"HS256","typ":"JWT"}')}.${part(claims)}`
  const secret = readFileSync(b.file('secret'), 'latin1')
  b.write('token', `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`)
  const agent = b.agent(config)
  await b.joined(config, agent)
  assert.equal(await agent.end(), 0, agent.text)
})
