// The demo: an agent delivers to a local server over TLS, goes through two outages, is killed in the
// second one, and every event of an application with a tally of its own is counted in the SQLite
// file at the other end. `tools/dev demo` builds what it needs and runs this under Node 22.
//
// Usage: demo.mjs [--json] [--seconds N]   (PETREL_BUILD: folder of the build, default build/dev)
//
// The counts are not the agent's: `emitted` is the source's tally of replies, everything else is read
// from the collector's file with SQLite itself.

import { parseArgs } from 'node:util'
import { pause, until, World } from '../../test/integration/agent/world.mjs'

const SCALE = 10
const SECONDS = 55
const SECONDS_LEAST = 25
const SHARE_OF_PHASES = 0.4 // of the bound; the faults and the replays take their own time

const help = `usage: tools/dev demo [--json] [--seconds N]

Starts petrel-realtime (a local server that talks like Supabase Realtime), petrel-collector (stores
into SQLite and gives receipts), petrel-faultproxy (the bad link), the agent and an application.
Takes at most N seconds (${SECONDS_LEAST} to 600, default ${SECONDS}), usually half of that. Exit 0 only if every event was
delivered exactly once.
--json prints the summary as one line of JSON, last.`

function options() {
  const fail = (text) => {
    console.error(`demo: ${text}\n${help}`)
    process.exit(2)
  }
  let values
  try {
    ({ values } = parseArgs({ options: { json: { type: 'boolean' }, seconds: { type: 'string' },
      help: { type: 'boolean', short: 'h' } } }))
  } catch (error) {
    fail(error.message)
  }
  if (values.help) {
    console.log(help)
    process.exit(0)
  }
  const seconds = Number(values.seconds ?? SECONDS)
  if (!Number.isInteger(seconds) || seconds < SECONDS_LEAST || seconds > 600) {
    fail(`--seconds takes a whole number from ${SECONDS_LEAST} to 600`)
  }
  return { json: values.json ?? false, seconds }
}

const { json, seconds } = options()
const began = Date.now()
const since = () => (Date.now() - began) / 1000
const say = (text) => console.log(`${since().toFixed(1).padStart(5)}s  ${text}`)
const tell = (text) => say(`-- ${text}`)

const w = new World({ device: 'demo-1', timeScale: SCALE })
const seen = { backlog: 0, outages: 0, kills: 0, replays: [], last: null, status: null }

// A line a second of what the agent says of itself and what has arrived.
async function watch() {
  const status = await w.status()
  const delivered = w.stored().ns
  const emitted = w.source?.tally.emitted ?? 0
  const now = Date.now()
  const backlog = status ? status.events.held + status.events.held_earlier_runs : null
  seen.backlog = Math.max(seen.backlog, backlog ?? 0)
  seen.status = status
  if (seen.last && now - seen.last.at < 950) { return status }
  const rate = seen.last ? Math.round((delivered - seen.last.delivered) * 1000 / (now - seen.last.at)) : 0
  const part = (name, value, width) => `${name} ${String(value ?? '-').padStart(width)}`
  say([(status?.state ?? 'no agent').padEnd(10), `breaker ${(status?.link.breaker ?? '-').padEnd(9)}`,
    part('events/s', rate, 4), part('batch', status?.traffic.last_batch_events, 3),
    part('backlog', backlog, 4), part('emitted', emitted, 5), part('delivered', delivered, 5)].join('  '))
  seen.last = { at: now, delivered }
  return status
}

// Watches until there(status) holds; `within` seconds is a bound, not a wait.
async function watchUntil(there, label, within = 60) {
  await until(async () => {
    const status = await watch()
    if (!w.agent.alive && seen.kills === 0) { throw new Error(`the agent ended with ${w.agent.code}`) }
    if (await there(status)) { return true }
    await pause(100)
    return false
  }, label, within * 1000)
}

function watchFor(wait) {
  const end = Date.now() + wait * 1000
  return watchUntil(() => Date.now() >= end, 'time passes', wait + 10)
}

const isOpen = (status) => status?.link.breaker === 'open'
const isSpilled = (status) => isOpen(status) && status.journal.mode === 'direct' &&
  status.events.held_ram === 0

// From now on: until everything emitted before is stored and the agent knows it.
async function replay() {
  const from = Date.now()
  const { emitted } = w.source.tally
  await watchUntil((status) => status?.link.breaker === 'closed' && w.stored().ns >= emitted &&
    status.events.held_journal === 0 && status.events.held_earlier_runs === 0, 'the backlog is delivered')
  const took = (Date.now() - from) / 1000
  seen.replays.push(took)
  tell(`replayed: everything emitted before is stored, ${took.toFixed(1)} s after the link came back`)
}

async function setUp() {
  await w.startServer()
  w.proxy = await w.startProxy()
  await w.startCollector()
  const file = await w.configure(w.proxy.port, {
    batch: { max_delay_ms: 1000, messages_per_s: 10 },
    journal: { commit_ms: 1000 },
    metrics: { cpu: 'yes', memory: 'yes', load: 'yes', interval_ms: 2000 },
    agent: { log_level: 'info' },
  })
  tell('petrel-realtime: a local Supabase Realtime server, TLS with a test CA')
  tell('petrel-collector: subscribes, stores into SQLite, gives receipts')
  tell('petrel-faultproxy: the link between the agent and the server')
  tell(`timers shortened to 1/${SCALE} of the defaults for this demo: connect 1 s, join 1.2 s,`)
  tell('  acknowledgement 0.5 s, heartbeat 2.5 s, back-off 0.1 to 6 s, receipts 0.1 s, resend 0.2 s,')
  tell('  status report 6 s; not shortened: a batch a second. Raised: 10 messages/s instead of 1')
  w.startAgent(file)
  await w.agentReady()
  const { tls, link } = await w.status()
  tell(`petrel: joined ${link.server} over ${tls.version}, certificate of ${tls.subject} verified,`)
  tell('  delivery = stored, host metrics on')
  w.startSource({ rate: 50 })
  tell('petrel-source: an application, 50 events a second, counts the replies itself')
}

async function firstOutage(wait) {
  tell('OUTAGE 1: the link is a black hole: nothing arrives, nothing is refused')
  await w.proxy.link('blackhole')
  await watchUntil(isSpilled, 'the breaker opens')
  seen.outages++
  tell('acknowledgements stayed away: breaker OPEN, what was in RAM is spilled to the journal')
  await watchFor(wait)
  tell('the link is back')
  await w.proxy.link('clear')
  await replay()
}

async function secondOutage(wait) {
  tell('OUTAGE 2: the connection is reset, new ones are refused')
  await w.proxy.link('refuse')
  await w.proxy.link('reset')
  await watchUntil(isOpen, 'the breaker opens')
  seen.outages++
  await watchFor(wait)
  await w.source.hold()
  await watchUntil(isSpilled, 'everything is spilled')
  const { accepted, emitted } = w.source.tally
  tell(`status says OPEN and spilled, every reply is in (${accepted} of ${emitted}): kill -9 of the agent`)
  seen.kills++
  await w.agent.end('SIGKILL')
  await watchFor(2)
  w.startAgent(w.agentConfig)
  await watchUntil((status) => status, 'the agent answers')
  tell(`started again: ${seen.status.events.held_earlier_runs} events of the killed run are in its journal`)
  await w.source.resume()
  await watchFor(wait / 2)
  tell('the link is back')
  await w.proxy.link('clear')
  await replay()
}

// Ends the source, then the agent, so that nothing is under way when it is counted.
async function wrapUp() {
  await w.source.hold()
  await watchUntil((status) => status && status.events.held === 0 && status.journal.ends_unconfirmed === 0,
    'the agent holds nothing')
  const code = await w.agent.end('SIGTERM')
  tell(`the agent was told to stop: exit ${code}`)
  await w.source.end()
  return code
}

function count(agentCode) {
  const { emitted, accepted, refused, unanswered } = w.source.tally
  const { events, ns } = w.stored()
  const strangers = w.count(`SELECT count(*) FROM monitoring_events WHERE event_type = 'demo.tick'
    AND json_extract(data, '$.n') NOT BETWEEN 0 AND ?`, emitted - 1)
  const inGaps = (kind) => w.count(
    'SELECT coalesce(sum(last - first + 1), 0) FROM monitoring_gaps WHERE kind = ?', kind)
  const result = {
    emitted,
    delivered: ns,
    lost: inGaps('lost'),
    uncertain: inGaps('uncertain') + inGaps('unknown'),
    gaps: w.gaps().length,
    duplicates_removed: w.duplicates(),
    outages: seen.outages,
    max_backlog: seen.backlog,
    replay_seconds: Number(Math.max(0, ...seen.replays).toFixed(1)),
    seconds: Number(since().toFixed(1)),
    kills: seen.kills,
    host_metrics: w.count("SELECT count(*) FROM monitoring_events WHERE event_type LIKE 'host.%'"),
    runs_torn: w.ends().filter((end) => end.how === 'torn').length,
    time_scale: SCALE,
  }
  const holds = emitted > 0 && accepted === emitted && refused + unanswered === 0 && ns === emitted &&
    events === ns && strangers === 0 && result.lost + result.uncertain + result.gaps === 0 &&
    result.runs_torn === 0 && result.outages === 2 && result.kills === 1 && result.host_metrics > 0 &&
    agentCode === 0
  return { result, holds }
}

// Late is wrong, too.
const watchdog = setTimeout(() => {
  console.error(`demo: not through after ${seconds} s\n${w.logs()}`)
  process.exit(1)
}, seconds * 1000)
try {
  await setUp()
  const spare = seconds * SHARE_OF_PHASES
  await watchFor(spare * 0.25)
  await firstOutage(spare * 0.2)
  await watchFor(spare * 0.15)
  await secondOutage(spare * 0.2)
  await watchFor(spare * 0.1)
  const code = await wrapUp()
  const { result, holds } = count(code)
  const shown = ['emitted', 'delivered', 'lost', 'uncertain', 'gaps', 'duplicates_removed', 'outages',
    'max_backlog', 'replay_seconds']
  console.log(shown.map((name) => `${name}=${result[name]}`).join(' '))
  console.log(holds
    ? `Every event is in the SQLite file once, and ${result.host_metrics} host metrics beside them.`
    : 'IT DOES NOT HOLD: the logs follow.')
  if (!holds) { console.log(w.logs()) }
  if (json) { console.log(JSON.stringify({ ...result, ok: holds })) }
  process.exitCode = holds ? 0 : 1
} catch (error) {
  console.error(`demo: ${error.message}\n${w.logs()}`)
  process.exitCode = 1
} finally {
  clearTimeout(watchdog)
  await w.close()
}
