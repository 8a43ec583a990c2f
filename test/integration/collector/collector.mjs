// Goal: what devices publish is in the SQLite file once and byte for byte, receipts name only what
// is there, and no end of a link, a server or the collector itself changes that. Method: the real
// programs over TLS; a device played by hand; kill -9; petrel-faultproxy between; times at a tenth.
//
// Usage: node collector.mjs petrel-collector petrel-realtime petrel-faultproxy

import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Device, collectorBinary, dir, fast, mint, pause, proxyBinary, readJson, secretFile,
  serverBinary, start, startCollector, startServer, until } from './world.mjs'

let server
const rows = (db, sql = 'SELECT count(*) AS n FROM monitoring_events', ...args) => {
  const file = new DatabaseSync(db, { readOnly: true })
  try { return file.prepare(sql).all(...args) } finally { file.close() }
}
const count = (db) => rows(db)[0].n
const stats = (db) => JSON.parse(execFileSync(collectorBinary, ['stats', '--db', db, '--json']))

// The numbers that the receipts so far promise for this device's run.
function promised(device) {
  const numbers = new Set()
  for (const receipt of device.receipts) {
    for (const entry of receipt.epochs.filter(({ epoch }) => epoch === device.epoch)) {
      for (let n = device.first; n < entry.next; n++) { numbers.add(n) }
      for (const [a, b] of entry.have) { for (let n = a; n < b; n++) { numbers.add(n) } }
    }
  }
  return numbers
}

const steps = {
  async 'rows, duplicates, gaps, ends and malformed batches'() {
    const db = join(dir, 'rows.db')
    const status = join(dir, 'status.json')
    const collector = await startCollector(server.address, server.caFile, db,
      ['--device', 'gw-1', '--receipts', 'main', '--status-file', status])
    const d = await new Device('gw-1').connect(server.address, server.caFile)
    await d.push(d.batch(0, 10))
    await d.push(d.batch(5, 15), { text: true }) // five again, cut differently, as text
    const data = ['{ "b":1, "a":2,"b":3 }', '{"x":-0,"y":1.00,"z":1e2,"w":1E+2}',
      '{"s":"\\u00e9\\/","t":"\u00e9/"}', '{"path":"C:\\\\u0000dir"}', '{"id":9007199254740993}']
    await d.push(d.batch(0, 0, { raw: data.map((text, i) => d.event(15 + i, text)).join() }))
    const first = d.first
    await d.push(d.batch(24, 26, { gaps: [{ epoch: d.epoch, first: first + 20, last: first + 22,
      reason: 'overflow', kind: 'lost' }] }))
    await d.push(d.batch(0, 1).replace('{"n":0}', '{"n":"other"}')) // a conflict
    for (const bad of ['{}', '"x"', d.batch(30, 31).replace('"seq":', '"seq":-'),
      d.batch(30, 31, { device: 'gw-2' }), d.batch(30, 31).replace('{"n":30}', '{"n":1e400}'),
      d.batch(30, 31).replace('{"n":30}', '{"s":"a\\u0000"}'), d.batch(30, 31, { v: 2 })]) {
      await d.push(bad)
    }
    await d.push('no JSON at all {')
    // The floor says that 23 is gone, the end that nothing comes any more.
    await d.push(d.batch(0, 0, { floor: first + 26, ends: [{ epoch: d.epoch, next: first + 26,
      how: 'closed', at_most: 0 }] }))
    await until(() => readJson(status).malformed === 8 && readJson(status).unknown === 1, 'all in')
    assert.equal(count(db), 22)
    assert.deepEqual(rows(db, 'SELECT data FROM monitoring_events WHERE seq>=? AND seq<? ' +
      'ORDER BY seq', first + 15, first + 20).map((row) => row.data), data)
    await until(() => d.receipts.at(-1)?.epochs[0].ended, 'receipt of the end')
    assert.deepEqual(d.receipts.at(-1), { source: 'main', epochs: [{ epoch: d.epoch,
      next: first + 26, have: [], refused: [], ended: { next: first + 26, how: 'closed',
        at_most: 0 } }] })
    await until(() => readJson(status).receipts_acked === d.receipts.length, 'receipts acked')
    assert.equal(await collector.stop(), 0)
    const all = stats(db)
    assert.equal(all.events, 22)
    assert.equal(all.distinct, 22)
    assert.equal(all.duplicates_removed, 5)
    assert.equal(all.conflicts, 1)
    assert.equal(all.malformed, 8)
    assert.equal(all.lost, 3)
    assert.equal(all.unknown, 1)
    assert.equal(all.ends, 1)
    assert.deepEqual(all.per_run.map((run) => [run.device, run.events, run.gap_events, run.holes,
      run.how, run.complete]), [['gw-1', 22, 4, 0, 'closed', true]])
    assert.match(collector.err, /LOSS gw-1 run/)
    assert.match(collector.err, /CONFLICT gw-1 run/)
    d.close()
  },

  async 'a device that sends again until a receipt covers it, through kills of the collector'() {
    const db = join(dir, 'kill.db')
    const args = ['--device', 'gw-1', '--receipts', 'main']
    const TOTAL = 3000
    let collector = await startCollector(server.address, server.caFile, db, args)
    const d = await new Device('gw-1').connect(server.address, server.caFile)
    let sent = 0
    let kills = 0
    const end = Date.now() + 40000
    for (;;) {
      const have = promised(d)
      if (have.size === TOTAL) { break }
      assert.ok(Date.now() < end, `only ${have.size} of ${TOTAL} receipted after ${kills} kills`)
      for (let i = 0; i < 12 && sent < TOTAL; i++, sent += 10) {
        await d.push(d.batch(sent, sent + 10))
      }
      for (let n = 0; n < sent; n += 10) { // lowest first, what nothing covers
        if (!have.has(d.first + n)) { await d.push(d.batch(n, n + 10)) }
      }
      if (kills < 6 && sent > kills * 400) {
        await d.push(d.batch(0, 10), { ack: false })
        await collector.stop('SIGKILL')
        kills++
        // What it promised before it died is there.
        const stored = new Set(rows(db, 'SELECT seq FROM monitoring_events').map((r) => r.seq))
        for (const n of promised(d)) { assert.ok(stored.has(n), `${n} promised, not stored`) }
        collector = await startCollector(server.address, server.caFile, db, args)
      }
      await pause(30)
    }
    assert.equal(kills, 6)
    assert.equal(await collector.stop(), 0)
    const all = stats(db)
    assert.equal(all.events, TOTAL)
    assert.equal(all.distinct, TOTAL)
    assert.equal(all.conflicts + all.gaps + all.malformed, 0)
    assert.equal(all.per_run[0].next, d.first + TOTAL)
    d.close()
    return `${all.duplicates_removed} duplicates removed, ${d.receipts.length} receipts`
  },

  async 'the link: blackhole, reset, half-open, server killed and started again'() {
    const db = join(dir, 'link.db')
    const status = join(dir, 'link.json')
    const ctl = join(dir, 'ctl')
    const proxy = await start(proxyBinary, ['--listen', '127.0.0.1:0', '--to', server.address,
      '--control', ctl], /ready listen=(\S+) /)
    const fault = (...words) => assert.equal(
      execFileSync(proxyBinary, ['ctl', ctl, ...words], { encoding: 'utf8' }), 'ok\n')
    const collector = await startCollector(proxy.ready[1], server.caFile, db,
      ['--device', 'gw-1', '--status-file', status])
    let d = await new Device('gw-1').connect(server.address, server.caFile)
    let sent = 0
    let lost = 0
    const works = async (label) => {
      await until(() => readJson(status).joined === 1 && readJson(status).links_lost === lost,
        `joined again after ${label}`)
      await d.push(d.batch(sent, ++sent))
      await until(() => count(db) === sent, `event ${sent} after ${label}`)
    }
    await works('the start')
    for (const [mode, back] of [['split 1 gap 0', 'clear'], ['delay 100 jitter 50', 'clear']]) {
      fault(...mode.split(' '))
      await works(mode)
      fault(back)
    }
    for (const mode of ['reset', 'halfopen']) {
      fault(mode)
      lost++
      await works(mode)
    }
    fault('blackhole')
    lost++
    await until(() => readJson(status).links_lost === lost, 'blackhole noticed')
    fault('clear')
    await works('the blackhole')
    fault('split', '1')
    fault('reset') // a whole connect, TLS handshake and join in single bytes
    lost++
    await works('a connect in single bytes')
    fault('clear')
    await server.stop('SIGKILL')
    lost++
    await until(() => readJson(status).links_lost === lost, 'server lost')
    server = await startServer(server.address)
    d.close()
    const again = await new Device('gw-1').connect(server.address, server.caFile)
    Object.assign(again, { epoch: d.epoch })
    d = again
    await works('the server was killed')
    assert.match(collector.err, /heartbeat was not answered/)
    assert.equal(await collector.stop(), 0)
    await proxy.stop()
    d.close()
    return `${lost} links lost`
  },

  async 'the list of devices is read again, and wrong lines are said'() {
    const db = join(dir, 'list.db')
    const list = join(dir, 'devices')
    const status = join(dir, 'list.json')
    writeFileSync(list, '# two of them\ngw-1\n  gw-2  # the second\n\nno device!\n')
    const collector = await startCollector(server.address, server.caFile, db,
      ['--devices', list, '--status-file', status])
    assert.match(collector.err, /devices:5: this is no device name/)
    const a = await new Device('gw-1').connect(server.address, server.caFile)
    const b = await new Device('gw-3').connect(server.address, server.caFile)
    await a.push(a.batch(0, 1))
    await b.push(b.batch(0, 1)) // nobody listens
    await until(() => count(db) === 1, 'gw-1')
    writeFileSync(list, 'gw-3\ngw-2\n')
    await until(() => /gw-1 is not in/.test(collector.err) && readJson(status).joined === 2, 'gw-3')
    await a.push(a.batch(1, 2))
    await b.push(b.batch(1, 2))
    await until(() => count(db) === 2, 'gw-3 stored')
    await pause(100)
    assert.deepEqual(rows(db, 'SELECT device FROM monitoring_events ORDER BY rowid')
      .map((row) => row.device), ['gw-1', 'gw-3'])
    assert.equal(await collector.stop(), 0)
    a.close()
    b.close()
  },

  async 'a database that is locked for a while costs nothing but time'() {
    const db = join(dir, 'lock.db')
    const collector = await startCollector(server.address, server.caFile, db,
      ['--device', 'gw-1', '--receipts', 'main'])
    const d = await new Device('gw-1').connect(server.address, server.caFile)
    await d.push(d.batch(0, 10))
    await until(() => d.receipts.length === 1, 'first receipt')
    const other = new DatabaseSync(db)
    other.exec('BEGIN IMMEDIATE')
    for (let n = 10; n < 60; n += 10) { await d.push(d.batch(n, n + 10)) }
    await pause(700)
    assert.equal(d.receipts.length, 1)
    other.exec('ROLLBACK')
    other.close()
    await until(() => promised(d).size === 60, 'all receipted')
    assert.equal(count(db), 60)
    assert.match(collector.err, /database is locked/)
    assert.equal(await collector.stop(), 0)
    d.close()
  },

  async 'servers that are not the right one are refused with words'() {
    const db = join(dir, 'tls.db')
    const make = (name, ...args) => execFileSync(serverBinary,
      ['make-certs', '--dir', join(dir, name), '--ca-dir', join(dir, 'tls'), ...args])
    make('other-host', '--host', 'other.example')
    make('expired', '--not-before', '20200101000000', '--not-after', '20200102000000')
    const refused = async (tls, ca, words) => {
      const wrong = await startServer('127.0.0.1:0', tls)
      const collector = await start(collectorBinary, ['--url', `wss://${wrong.address}`,
        '--ca-file', ca, '--key-file', join(dir, 'key'), '--db', db, '--device', 'gw-1', ...fast])
      await until(() => words.test(collector.err), `${words} in ${collector.err}`)
      assert.equal(collector.out, '')
      assert.equal(await collector.stop(), 0)
      await wrong.stop()
    }
    await refused('other-host', server.caFile, /is not for 127\.0\.0\.1/)
    await refused('expired', server.caFile, /has expired/)
    await refused('unknown-ca', server.caFile, /is signed by no CA in/)
  },

  async 'a refused key, a refused join'() {
    const db = join(dir, 'refused.db')
    const key = secretFile('bad-key', `${mint('service_role').slice(0, -4)}AAAA`)
    let collector = await start(collectorBinary, ['--url', `wss://${server.address}`, '--ca-file',
      server.caFile, '--key-file', key, '--db', db, '--device', 'gw-1', ...fast])
    await until(() => /refused the key \(HTTP 401\)/.test(collector.err), '401')
    assert.equal(await collector.stop(), 0)
    // A device's key cannot read uplinks, its own neither: it may only send there.
    const own = secretFile('device-key', mint('authenticated', 'gw-2'))
    collector = await start(collectorBinary, ['--url', `wss://${server.address}`, '--ca-file',
      server.caFile, '--key-file', own, '--db', db, '--device', 'gw-1', ...fast])
    await until(() => /gw-1: uplink not joined: Unauthorized/.test(collector.err), 'Unauthorized')
    assert.equal(await collector.stop(), 0)
    for (const secret of [key, own]) {
      assert.ok(!collector.err.includes(execFileSync('cat', [secret], { encoding: 'utf8' })))
    }
  },

  async 'command lines and files that cannot be right'() {
    const good = { '--url': `wss://${server.address}`, '--ca-file': server.caFile,
      '--key-file': join(dir, 'key'), '--db': join(dir, 'x.db'), '--device': 'gw-1' }
    const open = secretFile('open-key', mint('service_role'))
    chmodSync(open, 0o644)
    for (const [change, words] of [
      [{ '--url': undefined }, /--url, --key-file and --db are needed/],
      [{ '--url': 'ftp://x' }, /must begin with wss/],
      [{ '--url': 'wss://h:99999' }, /port/],
      [{ '--url': 'wss://h/?apikey=x' }, /no query/],
      [{ '--url': 'ws://127.0.0.1:1' }, /only with --plain/],
      [{ '--device': 'a b' }, /1 to 64 of/],
      [{ '--device': undefined }, /name the devices/],
      [{ '--devices': '/nowhere', '--device': undefined }, /\/nowhere: No such file/],
      [{ '--devices': '/dev/null' }, /one of them/],
      [{ '--heartbeat-ms': '0' }, /a whole number from 100 to 55000/],
      [{ '--receipt-ms': '1s' }, /a whole number/],
      [{ '--receipts': '' }, /empty value/],
      [{ '--key-file': '/nowhere' }, /No such file/],
      [{ '--key-file': '/dev/null' }, /is empty/],
      [{ '--key-file': open }, /chmod 600/],
      [{ '--key-file': secretFile('quoted', '"abc"') }, /quotes/],
      [{ '--ca-file': '/dev/null' }, /no certificate/],
      [{ '--ca-file': '/nowhere' }, /cannot be read/],
      [{ '--db': '/nowhere/x.db' }, /cannot open/],
      [{ '--nonsense': 'x' }, /see --help/],
    ]) {
      const args = Object.entries({ ...good, ...change }).filter(([, v]) => v !== undefined).flat()
      const { status, stderr, stdout } = spawnSync(collectorBinary, args,
        { encoding: 'utf8', timeout: 5000 })
      assert.ok(status === 1 || status === 2, `${args}: ${status} ${stderr}`)
      assert.match(stderr, words)
      assert.equal(stdout, '')
    }
    // White space and a byte order mark around the key are not part of it.
    const key = secretFile('bom-key', `\ufeff${mint('service_role')}\r\n`)
    const collector = await start(collectorBinary, ['--url', `https://${server.address}/rest/v1/`,
      '--ca-file', server.caFile, '--key-file', key, '--db', join(dir, 'x.db'), '--device', 'gw-1',
      ...fast], /petrel-collector ready devices=1 channels=1/)
    assert.equal(await collector.stop('SIGINT'), 0)
    assert.equal(statSync(join(dir, 'x.db')).mode & 0o007, 0)
  },
}

server = await startServer()
secretFile('key', mint('service_role'))
for (const [name, step] of Object.entries(steps)) {
  const begin = Date.now()
  const note = await step()
  console.log(`ok ${name} (${Date.now() - begin} ms${note ? `; ${note}` : ''})`)
}
assert.equal(await server.stop(), 0)
