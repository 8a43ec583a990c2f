// An unmodified supabase-js client with the service's token on one topic; prints `ready`, then the
// payload of every broadcast `events` as a line. Usage: subscriber.mjs URL TOPIC, tokens as one JSON
// line on standard input.

import { createInterface } from 'node:readline'
import { createClient } from '@supabase/supabase-js'

const [url, topic] = process.argv.slice(2)
const { anon, service } = JSON.parse((await createInterface({ input: process.stdin })[Symbol.asyncIterator]().next()).value)
const client = createClient(url, anon, {
  auth: { persistSession: false, autoRefreshToken: false },
  realtime: { heartbeatIntervalMs: 2000 },
  accessToken: async () => service,
})
await client.realtime.setAuth()
client.channel(topic, { config: { private: true } })
  .on('broadcast', { event: 'events' }, ({ payload }) => console.log(JSON.stringify(payload)))
  .subscribe((status, error) => {
    if (status === 'SUBSCRIBED') { console.log('ready') } else { console.error(status, error?.message ?? '') }
  })
