// @rudderstack/rudder-sdk-node
import zlib from 'node:zlib'
import { createRequire } from 'node:module'
import Analytics from '@rudderstack/rudder-sdk-node'
import { given, page } from './context.mjs'
import { rich } from './rich.mjs'
import { run } from './run.mjs'

const { version } = createRequire(import.meta.url)('@rudderstack/rudder-sdk-node/package.json')
const library = { name: 'analytics-node', version } // it calls itself so

await run({
  async calls({ host, key }) {
    const client = new Analytics(key, { dataPlaneUrl: host })
    const rows = []
    let delivered = 0
    // The callback is given the body of the request, which tells what the SDK added.
    const send = (type, message, row) => {
      const of = { type, user_id: message.userId, anonymous_id: message.anonymousId, ...row }
      rows.push(of)
      client[type](message, (err, body) => {
        if (err) throw err
        const sent = JSON.parse(zlib.gunzipSync(body)).batch[row.place]
        const { messageId, originalTimestamp, channel, _metadata, integrations } = sent
        delete of.place
        Object.assign(of, {
          event_id: messageId, at: originalTimestamp, sent: true,
          context: { library, ...row.context }, extra: { channel, _metadata, ...(integrations && { integrations }), ...row.extra },
        })
        delivered++
      })
    }
    // The first event is sent at once, by itself.
    send('track', { userId: 'ann', anonymousId: 'anon-1', event: 'Order Completed', properties: rich(), context: given(), integrations: { All: true } },
      { place: 0, event: 'Order Completed', properties: rich(), ...page() })
    send('track', { anonymousId: 'anon-1', event: 'bare' }, { place: 0, event: 'bare' })
    send('track', { userId: 'ann', event: 'own id', messageId: 'own-id-of-rudder-node', originalTimestamp: new Date('2024-02-29T23:59:59.123Z') }, { place: 1, event: 'own id' })
    send('identify', { userId: 'ann', anonymousId: 'anon-1', traits: rich() }, { place: 2, traits: rich(), context: { traits: rich() } })
    send('page', { userId: 'ann', category: 'shop', name: 'Basket', properties: { ...rich(), url: 'https://shop.example/basket' } },
      {
        place: 3, event: 'Basket', extra: { category: 'shop' }, properties: { ...rich(), url: 'https://shop.example/basket' },
        columns: { url: 'https://shop.example/basket', host: 'shop.example', path: '/basket' },
      })
    send('screen', { userId: 'ann', name: 'Home', properties: rich() }, { place: 4, event: 'Home', properties: rich() })
    send('group', { userId: 'ann', groupId: 'acme', traits: rich() }, { place: 5, group_id: 'acme', traits: rich() })
    send('alias', { userId: 'ann', previousId: 'anon-1' }, { place: 6, previous_id: 'anon-1' })
    await client.flush()
    while (delivered < rows.length) await new Promise(resolve => setTimeout(resolve, 5)) // callbacks come after the flush
    return rows
  },

  steady({ host, key }) {
    const client = new Analytics(key, { dataPlaneUrl: host, logLevel: 'none' })
    let n = 0
    let delivered = 0
    return {
      send: i => {
        n++
        client.track({ userId: 'u' + i % 7, event: 'steady', properties: { n: i } }, err => err ? console.error('given up:', err.message) : delivered++)
      },
      finish: async () => {
        // A flush sends at most flushAt events, and one that fails is not repeated.
        while (delivered < n) {
          await client.flush()
          await new Promise(resolve => setTimeout(resolve, 20))
        }
      },
    }
  },
})
