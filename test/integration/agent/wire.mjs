// A service client by hand on the device's uplink: sees every batch as it was cut, and can publish
// one of its own making, which no agent would send.

import { readFileSync } from 'node:fs'
import WebSocket from 'ws'
import { until } from './world.mjs'

const BROADCAST_PUSH = 3
const BROADCAST = 4

export async function startWire(w) {
  const token = readFileSync(await w.mint('service', '--role', 'service_role'), 'utf8').trim()
  const topic = `realtime:petrel:up:${w.device}`
  const socket = new WebSocket(`wss://localhost:${w.serverPort}/realtime/v1/websocket?apikey=${
    token}&vsn=2.0.0`, { ca: readFileSync(w.ca) })
  const batches = []
  const replies = new Map()
  let refs = 0
  socket.on('error', () => {})
  socket.on('message', (data, binary) => {
    if (!binary) {
      const [, ref, , event, payload] = JSON.parse(data)
      if (event === 'phx_reply') { replies.set(ref, payload.status) }
    } else if (data[0] === BROADCAST) { // kind, sizes of topic, event, metadata, encoding
      batches.push(JSON.parse(data.subarray(5 + data[1] + data[2] + data[3]).toString()))
    }
  })
  const answered = (ref) => until(() => replies.get(ref), `reply to ${ref}`)
  await new Promise((resolve, reject) => { socket.once('open', resolve).once('error', reject) })
  const join = String(++refs)
  socket.send(JSON.stringify([join, join, topic, 'phx_join', { config: { private: true,
    broadcast: { ack: true, self: false }, presence: { key: '', enabled: false } } }]))
  if (await answered(join) !== 'ok') { throw new Error('the uplink was not joined') }
  const beat = setInterval(() => {
    socket.send(JSON.stringify([null, String(++refs), 'phoenix', 'heartbeat', {}]))
  }, w.ms(25000))
  return {
    batches,
    // `payload` is text, so that a test chooses every byte.
    async push(payload) {
      const ref = String(++refs)
      socket.send(Buffer.concat([
        Buffer.from([BROADCAST_PUSH, join.length, ref.length, topic.length, 6, 0, 1]),
        Buffer.from(`${join}${ref}${topic}events${payload}`)]))
      return answered(ref)
    },
    close() {
      clearInterval(beat)
      socket.terminate()
    },
  }
}
