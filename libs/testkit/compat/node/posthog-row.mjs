// What an event of a PostHog SDK must become, given what the SDK says that it sent. Properties stay as they are; what has
// a place of its own in a row is there too.
const types = { $pageview: 'page', $screen: 'screen', $identify: 'identify', $set: 'identify', $create_alias: 'alias', $groupidentify: 'group' }

export function row({ uuid, event, distinct_id, properties, timestamp, $set, $set_once }) {
  const type = types[event] ?? 'track'
  const { $set: set, $set_once: once, $group_set, token, ...rest } = properties
  const whose = distinct_id ?? rest.distinct_id
  const known = rest.$is_identified !== false && whose !== rest.$device_id
  const anonymous = known ? [rest.$anon_distinct_id, rest.$device_id].find(id => id && id !== whose) : whose
  const url = rest.$current_url && new URL(rest.$current_url)
  const referrer = rest.$referrer === '$direct' ? undefined : rest.$referrer
  const r = {
    type, event_id: uuid, at: timestamp, sent: true,
    user_id: known ? whose : undefined, anonymous_id: anonymous,
    properties: rest, context: { library: { name: rest.$lib, version: rest.$lib_version } }, extra: {},
    columns: {
      session_id: rest.$session_id,
      url: rest.$current_url, host: url?.hostname, path: rest.$pathname ?? url?.pathname, search: url?.search,
      referrer, referrer_host: referrer && new URL(referrer).hostname,
      utm_source: url?.searchParams.get('utm_source') ?? undefined, user_agent: rest.$raw_user_agent,
    },
  }
  const person = { $set: { ...set, ...$set }, $set_once: { ...once, ...$set_once } }
  switch (type) {
    case 'track':
      r.event = event
      break
    case 'page':
      r.columns.title = rest.title
      break
    case 'screen':
      r.event = rest.$screen_name
      break
    case 'identify':
      r.traits = { ...person.$set_once, ...person.$set }
      if (event === '$set') r.extra.posthog_event = '$set'
      break
    case 'alias':
      r.previous_id = rest.alias
      break
    case 'group':
      r.group_id = rest.$group_key
      r.traits = $group_set
  }
  if (type !== 'identify') {
    if (set) rest.$set = set
    if (once) rest.$set_once = once
    if ($set) r.extra.$set = $set
    if ($set_once) r.extra.$set_once = $set_once
  }
  return r
}
