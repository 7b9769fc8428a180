// posthog-node
import { PostHog } from 'posthog-node'
import { row } from './posthog-row.mjs'
import { rich } from './rich.mjs'
import { run } from './run.mjs'

await run({
  async calls({ host, key }) {
    const client = new PostHog(key, { host })
    const sent = []
    client.on('flush', messages => sent.push(...messages))
    const at = new Date('2024-02-29T23:59:59.123Z')
    client.capture({ distinctId: 'ann', event: 'order completed', properties: rich(), timestamp: at, groups: { company: 'acme' }, uuid: '018f3b5e-0000-7000-8000-00000000abcd' })
    client.capture({ distinctId: 'ann', event: 'bare' })
    client.capture({ distinctId: 'ann', event: '$pageview', properties: { $current_url: 'https://shop.example/basket?utm_source=news', $session_id: 'session-1', title: 'Košík', $referrer: 'https://search.example/?q=x' } })
    client.capture({ distinctId: 'ann', event: '$screen', properties: { $screen_name: 'Home' } })
    client.capture({ distinctId: 'anon-1', event: 'anonymous', properties: { $process_person_profile: false } })
    client.identify({ distinctId: 'ann', properties: { $set: rich(), $set_once: { first: 'yes' }, $anon_distinct_id: 'anon-1' } })
    client.setPersonProperties({ distinctId: 'ann', properties: { plan: 'pro', n: 1 }, propertiesOnce: { source: 'news' } })
    client.unsetPersonProperties({ distinctId: 'ann', properties: ['plan'] })
    client.alias({ distinctId: 'ann', alias: 'annie' })
    client.groupIdentify({ groupType: 'company', groupKey: 'acme', properties: rich(), distinctId: 'ann' })
    client.captureException(new Error('an error'), 'ann', { where: 'here' })
    // What is sent immediately is in no flush.
    const immediate = { event: 'immediate', uuid: '018f3b5e-0000-7000-8000-000000000001' }
    await client.captureImmediate({ ...immediate, distinctId: 'ann', timestamp: at, properties: rich() })
    sent.push({ ...immediate, distinct_id: 'ann', timestamp: at, properties: { ...rich(), $lib: 'posthog-node', $lib_version: client.getLibraryVersion(), $is_server: true, $geoip_disable: true } })
    await client.flush()
    await client.shutdown()
    return sent.map(row)
  },

  steady({ host, key }) {
    const client = new PostHog(key, { host })
    client.on('error', err => console.error('an attempt failed:', err.message))
    return {
      send: n => client.capture({ distinctId: 'u' + n % 7, event: 'steady', properties: { n } }),
      finish: () => client.shutdown(60_000),
    }
  },
})
