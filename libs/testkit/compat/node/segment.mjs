// @segment/analytics-node
import { Analytics } from '@segment/analytics-node'
import { given, page } from './context.mjs'
import { rich } from './rich.mjs'
import { run } from './run.mjs'

const version = new Analytics({ writeKey: 'x', disable: true }).VERSION
const library = { name: '@segment/analytics-node', version }

await run({
  async calls({ host, key }) {
    const analytics = new Analytics({ writeKey: key, host })
    const rows = []
    // send makes one call; row is what it must become but for what the SDK adds.
    const send = (type, message, row) => analytics[type](message, (err, ctx) => {
      if (err) throw err
      const { messageId, timestamp, integrations, _metadata } = ctx.event
      rows.push({
        type, event_id: messageId, at: timestamp, sent: true, user_id: message.userId, anonymous_id: message.anonymousId,
        ...row, context: { library, ...row.context }, extra: { integrations, _metadata, ...row.extra },
      })
    })
    const at = new Date('2024-02-29T23:59:59.123Z')
    send('track', { userId: 'ann', anonymousId: 'anon-1', event: 'Order Completed', properties: rich(), context: given(), timestamp: at, integrations: { All: false } },
      { event: 'Order Completed', properties: rich(), ...page() })
    send('track', { anonymousId: 'anon-1', event: 'bare' }, { event: 'bare' })
    send('track', { userId: 'ann', event: 'own id', messageId: 'own-id-of-segment-node' }, { event: 'own id' })
    send('identify', { userId: 'ann', anonymousId: 'anon-1', traits: rich() }, { traits: rich() })
    send('page', { userId: 'ann', category: 'shop', name: 'Basket', properties: { ...rich(), url: 'https://shop.example/basket?utm_source=news&x=1', title: 'Košík', referrer: 'https://search.example/?q=x' } },
      {
        event: 'Basket', extra: { category: 'shop' },
        properties: { ...rich(), category: 'shop', url: 'https://shop.example/basket?utm_source=news&x=1', title: 'Košík', referrer: 'https://search.example/?q=x' },
        columns: { url: 'https://shop.example/basket?utm_source=news&x=1', host: 'shop.example', path: '/basket', search: '?utm_source=news&x=1', title: 'Košík', referrer: 'https://search.example/?q=x', referrer_host: 'search.example', utm_source: 'news' },
      })
    send('screen', { userId: 'ann', category: 'app', name: 'Home', properties: { ...rich() } }, { event: 'Home', properties: rich(), extra: { category: 'app' } })
    send('group', { userId: 'ann', groupId: 'acme', traits: rich() }, { group_id: 'acme', traits: rich() })
    send('alias', { userId: 'ann', previousId: 'anon-1' }, { previous_id: 'anon-1' })
    await analytics.flush()
    send('track', { userId: 'ann', event: 'after flush' }, { event: 'after flush' })
    await analytics.closeAndFlush()
    return rows
  },

  steady({ host, key }) {
    const analytics = new Analytics({ writeKey: key, host })
    analytics.on('error', err => console.error('given up:', err.reason))
    return {
      send: n => analytics.track({ userId: 'u' + n % 7, event: 'steady', properties: { n } }),
      finish: () => analytics.closeAndFlush(),
    }
  },
})
