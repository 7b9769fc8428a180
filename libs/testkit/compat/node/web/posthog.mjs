// What a page with posthog-js does; chromium_test.go calls it.
import { row } from '../posthog-row.mjs'
import { rich } from '../rich.mjs'

const given = new URLSearchParams(location.search)
const rows = []
posthog.init(given.get('key'), { api_host: given.get('door'), defaults: '2025-05-24' })
posthog.on('eventCaptured', event => rows.push(row(JSON.parse(JSON.stringify(event)))))

async function until(ok) {
  while (!ok()) await new Promise(resolve => setTimeout(resolve, 5))
}
const loaded = until(() => rows.length) // its own first page view

window.calls = async () => {
  await loaded
  posthog.capture('anonymous', rich())
  posthog.identify('ann', rich(), { first: 'yes' })
  posthog.capture('order completed', rich())
  posthog.setPersonProperties({ plan: 'pro' }, { source: 'news' })
  posthog.group('company', 'acme', rich())
  posthog.capture('in a group', { $set: { last: 'seen' } })
  posthog.alias('annie')
  posthog.capture('$pageview')
  posthog.captureException(new Error('an error'))
  // Two events are sent at once, by requests that do not outlive the page, and what is done here waits for them. All others
  // wait for the next batch, which leave does not wait for.
  await until(() => performance.getEntriesByType('resource').filter(r => new URL(r.name).pathname.endsWith('/e/')).length > 1)
  return true
}

window.leave = async () => {
  posthog.capture('left', { why: 'the page is closed' })
  // The SDK captures that the page is left when it is, in a listener that was there before this one.
  addEventListener('pagehide', () => sessionStorage.setItem('rows', JSON.stringify(rows)))
  location.href = 'blank.html'
}

let n = 0
let timer
window.begin = async () => {
  await loaded
  // It sends at most 10 rows a second, and a hundred at once.
  timer = setInterval(() => posthog.capture('steady', { n: n++ }), 125)
  return true
}
window.end = async () => {
  clearInterval(timer)
  return n
}
