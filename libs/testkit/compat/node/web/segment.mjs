// What pages with @segment/analytics-next do; chromium_test.go calls it.
import { rich } from '../rich.mjs'

// row is what a call must become: what it was given, and what the SDK says that it added.
function row(ctx, given) {
  const { type, messageId, timestamp, anonymousId, integrations, context } = ctx.event
  const { page, userAgent, locale, campaign, ...rest } = context
  return {
    type, event_id: messageId, at: timestamp, sent: true, anonymous_id: anonymousId,
    ...given,
    columns: { url: page.url, path: page.path, search: page.search, title: page.title, locale, utm_source: 'news', ...given.columns },
    context: { ...rest, ...given.context },
    extra: { integrations, _metadata: { bundled: ['Segment.io'], unbundled: [], bundledIds: [] }, ...given.extra },
  }
}

export function drive(loading) {
  let n = 0
  let timer
  const sent = []
  const rows = []
  const here = { path: '/web/' + location.pathname.split('/').pop(), search: location.search, title: document.title, url: location.href }
  window.calls = async () => {
    const analytics = await loading
    rows.push(row(await analytics.track('anonymous', rich()), { event: 'anonymous', properties: rich() }))
    rows.push(row(await analytics.page('shop', 'Basket', { ...rich() }), { event: 'Basket', properties: { ...rich(), ...here, referrer: '', category: 'shop', name: 'Basket' }, extra: { category: 'shop' } }))
    rows.push(row(await analytics.identify('ann', rich()), { user_id: 'ann', traits: rich() }))
    rows.push(row(await analytics.track('Order Completed', rich(), { integrations: { All: false, 'Segment.io': true }, context: { active: true } }), { user_id: 'ann', event: 'Order Completed', properties: rich() }))
    rows.push(row(await analytics.screen('app', 'Home', rich()), { user_id: 'ann', event: 'Home', properties: rich(), extra: { category: 'app' } }))
    rows.push(row(await analytics.group('acme', rich()), { user_id: 'ann', group_id: 'acme', traits: rich() }))
    // The SDK has forgotten the new id, annie, by the time it sends the call.
    rows.push(row(await analytics.alias('annie', 'ann'), { user_id: 'ann', previous_id: 'ann' }))
    rows.push(row(await analytics.track('own id', {}, { messageId: 'own-id-of-' + location.pathname }), { user_id: 'ann', event: 'own id' }))
    return true
  }
  window.leave = async () => {
    const analytics = await loading
    const sending = analytics.track('left', { why: 'the page is closed' })
    location.href = 'blank.html'
    rows.push(row(await sending, { user_id: 'ann', event: 'left', properties: { why: 'the page is closed' } }))
    sessionStorage.setItem('rows', JSON.stringify(rows))
  }
  window.begin = async () => {
    const analytics = await loading
    timer = setInterval(() => sent.push(analytics.track('steady', { n: n++ })), 125)
    return true
  }
  window.end = async () => {
    clearInterval(timer)
    await Promise.all(sent)
    return n
  }
}
