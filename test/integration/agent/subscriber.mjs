// An unmodified supabase-js client on a device's uplink, in a process of its own (Node reads
// NODE_EXTRA_CA_CERTS only at its start). startSubscriber() runs this file.

import { createClient } from '@supabase/supabase-js'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { ms } from './world.mjs'

// `seen` fills with the n of every event that has one.
export async function startSubscriber(w) {
  const service = await w.mint('service', '--role', 'service_role')
  const anon = await w.mint('anon', '--role', 'anon')
  const env = { ...w.env, NODE_EXTRA_CA_CERTS: w.ca, PETREL_TIME_SCALE: String(w.scale) }
  const file = fileURLToPath(import.meta.url)
  const seen = new Set()
  const part = await w.start('subscriber', process.execPath,
    ['--disable-warning=ExperimentalWarning', file, `https://localhost:${w.serverPort}`, anon, service, w.device], /ready/, {
      env,
      line: (text) => {
        if (text.startsWith('{')) { JSON.parse(text).ns.forEach((n) => seen.add(n)) }
      },
    })
  part.seen = seen
  return part
}

function subscribe([url, anonFile, serviceFile, device]) {
  const read = (file) => readFileSync(file, 'utf8').trim()
  const client = createClient(url, read(anonFile), {
    auth: { persistSession: false, autoRefreshToken: false },
    realtime: { heartbeatIntervalMs: ms(25000) }, // the server's idle timer is scaled as well
    accessToken: async () => read(serviceFile),
  })
  client.realtime.setAuth().then(() => {
    client.channel(`petrel:up:${device}`, { config: { private: true } })
      .on('broadcast', { event: 'events' }, ({ payload }) => {
        const ns = payload.events.map((event) => event.data.n).filter((n) => n !== undefined)
        if (ns.length > 0) { console.log(JSON.stringify({ ns })) }
      })
      .subscribe((status, error) => {
        if (status === 'SUBSCRIBED') { console.log('ready') }
        if (status !== 'SUBSCRIBED') { console.error(status, error?.message ?? '') }
      })
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) { subscribe(process.argv.slice(2)) }
