// Goal: a server that is not the right one is never spoken to, and the user reads why: wrong host
// name, unknown CA, expired, not yet valid, no TLS at all, a port nobody listens on, a name that does
// not exist; refused upgrades and refused channels too. The same agent delivers once the server is
// right. Method: petrel-realtime with certificates made for each case, raw TCP servers for the rest;
// `status --check` must answer no with the words, and no secret may be in any output.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createServer } from 'node:net'
import { test } from 'node:test'
import { bench, realtime, until } from './support.mjs'

const fast = { breaker: { backoff_base_ms: 1000, backoff_cap_ms: 2000, slow_ms: 2000 } }

// The agent's words while it cannot deliver.
async function refusal(t, b, config, words) {
  const agent = b.agent(config)
  const s = await until(async () => {
    const status = await b.status(config)
    return status?.link.cause ? status : null
  }, 'a cause')
  assert.match(s.link.cause, words)
  assert.notEqual(s.state, 'delivering')
  assert.equal(s.link.joined, false)
  const check = await b.command('status', '--check', '-c', config)
  assert.equal(check.code, 1, check.out)
  assert.match(check.out, words)
  assert.equal(await agent.end(), 0, agent.text)
  assert.match(agent.text, words)
  for (const secret of ['anon', 'token']) {
    const text = execFileSync('cat', [b.file(secret)]).toString().trim()
    assert.ok(!agent.text.includes(text) && !check.out.includes(text), 'no secret in the output')
  }
}

const certificates = {
  'wrong host name': [['--host', 'other.example'],
    /certificate of the server is for other\.example, not for localhost/],
  expired: [['--not-before', '20190101000000', '--not-after', '20200102000000'],
    /certificate of 'localhost' has expired on 2020-01-02 \(today is \d{4}-/],
  'not yet valid': [['--not-before', '20450101000000', '--not-after', '20460101000000'],
    /certificate of 'localhost' is valid only from 2045-01-01 .*clock/],
}

for (const [name, [args, words]] of Object.entries(certificates)) {
  test(name, async (t) => {
    const b = bench(t)
    execFileSync(realtime, ['make-certs', '--dir', b.file('bad'), ...args])
    const server = await b.server('--tls-dir', b.file('bad'))
    server.caFile = b.file('bad/ca.pem')
    await refusal(t, b, b.configure(server, fast), words)
  })
}

test('unknown CA', async (t) => {
  const b = bench(t)
  execFileSync(realtime, ['make-certs', '--dir', b.file('foreign')])
  const server = await b.server()
  server.caFile = b.file('foreign/ca.pem')
  await refusal(t, b, b.configure(server, fast),
    /certificate not trusted: its issuer 'Petrel test CA' is not in ca_file .*foreign\/ca\.pem/)
})

test('a server that speaks no TLS, or hangs up', async (t) => {
  const b = bench(t)
  const server = await b.server()
  const plain = createServer((s) => s.on('error', () => {}).end('HTTP/1.1 400 Bad Request\r\n\r\n'))
  const quiet = createServer((s) => s.on('error', () => {}).destroy())
  await Promise.all([plain, quiet].map((s) => new Promise((r) => { s.listen(0, '127.0.0.1', r) })))
  t.after(() => { plain.close(); quiet.close() })
  const at = (s) => b.configure({ ...server, port: s.address().port }, fast)
  await refusal(t, b, at(plain), /does not speak TLS on this port/)
  await refusal(t, b, at(quiet), /TLS handshake|connection was closed/)
})

test('nobody there, no such name', async (t) => {
  const b = bench(t)
  const server = await b.server()
  await refusal(t, b, b.configure({ ...server, port: 1 }, fast),
    /cannot connect to 127\.0\.0\.1:1: Connection refused/)
  await refusal(t, b, b.configure(server, { ...fast,
    server: { url: `https://no-such-host.invalid:${server.port}` } }),
  /no-such-host\.invalid: (name not found|no name server answered|the name)/)
})

test('a server that takes the connection and says nothing', async (t) => {
  const b = bench(t)
  const server = await b.server()
  const mute = createServer((s) => s.on('error', () => {}))
  await new Promise((r) => { mute.listen(0, '127.0.0.1', r) })
  t.after(() => mute.close())
  await refusal(t, b, b.configure({ ...server, port: mute.address().port }, fast),
    /was not reached within 1000 ms: the server takes the connection but does not finish/)
})

test('a key that is refused: HTTP 401', async (t) => {
  const b = bench(t)
  const server = await b.server()
  const config = b.configure(server, fast)
  b.write('anon', b.mint('--role', 'anon', '--ttl', '-60'))
  await refusal(t, b, config, /refused the upgrade with HTTP 401: the key was refused/)
})

test('no token: the refusal names the two ways', async (t) => {
  const b = bench(t)
  const server = await b.server()
  const config = b.configure(server, { ...fast, server: { token_file: null }, device: { id: 'dev-1' } })
  const agent = b.agent(config)
  await until(() => /Unauthorized/.test(agent.text), 'refused')
  await until(() => /petrel sql.*token_file.*private = no/.test(agent.text), 'the two ways')
  assert.equal(await agent.end(), 0)
})

test('public channels work without a token', async (t) => {
  const b = bench(t)
  const server = await b.server()
  const config = b.configure(server, { server: { token_file: null, private: 'no' },
    device: { id: 'dev-1' } })
  const agent = b.agent(config)
  await b.joined(config, agent)
  assert.equal((await b.command('emit', 'e', 'n=1', '-c', config)).code, 0)
  await until(async () => (await b.status(config)).events.acknowledged >= 1, 'acknowledged')
  assert.equal(await agent.end(), 0)
})

test('the right server: verified, and the facts are shown', async (t) => {
  const b = bench(t)
  const server = await b.server()
  const config = b.configure(server)
  const agent = b.agent(config)
  await b.joined(config, agent)
  const s = await until(async () => {
    const status = await b.status(config)
    return status.state === 'delivering' ? status : null
  }, 'delivering')
  assert.equal(s.tls.verified, true)
  assert.equal(s.tls.version, 'TLSv1.3')
  assert.equal(s.tls.subject, 'localhost')
  assert.equal(s.tls.issuer, 'Petrel test CA')
  assert.match(s.tls.valid_until, /^20\d\d-/)
  assert.equal((await b.command('status', '--check', '-c', config)).code, 0)
  assert.equal(await agent.end(), 0)
})

test('plain ws: only to loopback, only when asked for', async (t) => {
  const b = bench(t)
  const server = await b.server()
  const config = b.configure(server, { server: { url: `http://localhost:${server.port}` } })
  const refused = await b.command('run', '-c', config)
  assert.equal(refused.code, 2)
  assert.match(refused.err, /plain_loopback = yes/)
})
