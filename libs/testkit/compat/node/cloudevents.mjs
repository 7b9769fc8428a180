// cloudevents
import { CloudEvent, HTTP, Mode, emitterFor, httpTransport } from 'cloudevents'
import { rich } from './rich.mjs'
import { run } from './run.mjs'

const headers = key => ({ headers: { Authorization: `Bearer ${key}` } })

await run({
  async calls({ host, key }) {
    const transport = httpTransport(host + '/v1/cloudevents')
    const rows = []
    // make returns an event and notes the row that it must become.
    const make = (id, attributes, row) => {
      const event = new CloudEvent({ id, source: '/shop', type: 'order.completed', time: '2024-02-29T23:59:59.123Z', subject: 'ann', data: rich(), ...attributes })
      rows.push({
        event_id: '/shop ' + id, type: 'track', event: 'order.completed', user_id: 'ann', at: event.time, properties: rich(), ...row,
        extra: { ce_id: id, ce_source: '/shop', ce_specversion: '1.0', ...(event.subject && { ce_subject: event.subject }), ...row.extra },
      })
      return event
    }
    const json = 'application/json; charset=utf-8'
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    const binary = emitterFor(transport, { mode: Mode.BINARY })
    const structured = emitterFor(transport, { mode: Mode.STRUCTURED })
    await binary(make('binary', { traceparent }, { extra: { ce_datacontenttype: json, ce_traceparent: traceparent } }), headers(key))
    await binary(make('text', { data: 'only text', datacontenttype: 'text/plain' }, { properties: { data: 'only text' }, extra: { ce_datacontenttype: 'text/plain' } }), headers(key))
    await structured(make('structured', { traceparent, dataschema: 'https://shop.example/schema' }, { extra: { ce_traceparent: traceparent, ce_dataschema: 'https://shop.example/schema' } }), headers(key))
    await structured(make('bytes', { data: Uint8Array.from([1, 2, 255]), datacontenttype: 'application/octet-stream' }, { properties: { data_base64: 'AQL/' }, extra: { ce_datacontenttype: 'application/octet-stream' } }), headers(key))
    // The library reads batches and does not write them; a batch is an array of what it writes.
    await httpTransport(host + '/v1/events')({ // where plain events go, CloudEvents do too
      headers: { 'Content-Type': 'application/cloudevents-batch+json' },
      body: JSON.stringify([make('batch 1', {}, {}), make('batch 2', { data: undefined, subject: undefined, userid: 'bob' }, { properties: {}, user_id: 'bob' })]),
    }, headers(key))
    return rows
  },

  steady({ host, key }) {
    // The library's own transport takes every answer for good, so this one looks at the status and comes again.
    const transport = async message => {
      for (;;) {
        const answer = await fetch(host + '/v1/cloudevents', { method: 'POST', headers: { ...message.headers, ...headers(key).headers }, body: message.body }).catch(() => undefined)
        if (answer?.ok) return
        await new Promise(resolve => setTimeout(resolve, 1000 * (answer?.headers.get('retry-after') ?? 1)))
      }
    }
    const emit = emitterFor(transport, { binding: HTTP, mode: Mode.BINARY })
    const sent = []
    return {
      send: n => sent.push(emit(new CloudEvent({ source: '/shop', type: 'steady', subject: 'u' + n % 7, data: { n } }))),
      finish: () => Promise.all(sent),
    }
  },
})
