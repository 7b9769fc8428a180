package enricher

import (
	"github.com/millrace/millrace/libs/event"
	"github.com/millrace/millrace/libs/event/frame"
)

// row is one event on its way through the steps: what is known of it, then
// what the steps find. It is reused; its slices are valid until the next event.
// A step reads the first half and writes fields of the second, nothing else:
// its result is a function of the event and its frame alone, so that two
// owners of a shard give the same answer.
type row struct {
	// Known before the first step.
	ev        *event.Event
	id        []byte // event_id
	source    []byte
	received  int64  // ms
	doorIP    []byte // of the request, empty from NATS
	doorAgent []byte // User-Agent of the request, empty from NATS
	doorSent  int64  // sentAt of the request, 0 when it had none
	asked     bool   // it came with an ask

	// Filled by the steps.
	timestamp, original, sent int64 // ms
	path, host, search        []byte
	referrerHost              []byte
	utm                       [5][]byte // in the order of the columns
	userAgent                 []byte
	agent                     *agent
	ip                        []byte

	text []byte // unescaped and lower-cased pieces that the slices point to
}

// start makes the row ready for an event; known fields are set by the caller.
func (r *row) start() { *r = row{text: r.text[:0]} }

// write appends the row to a block of [frame.RowSchema].
func (r *row) write(b *frame.Block, shard uint16, seq uint64, idx int) {
	e := r.ev
	b.U16(frame.ColShard, shard)
	b.U64(frame.ColSeq, seq)
	b.U32(frame.ColIdx, uint32(idx))
	b.Str(frame.ColSource, r.source)
	b.Str(frame.ColType, e.Type)
	b.Str(frame.ColEvent, e.Name)
	b.Str(frame.ColEventID, r.id)
	b.Str(frame.ColUserID, e.UserID)
	b.Str(frame.ColAnonymousID, e.AnonymousID)
	b.Str(frame.ColPreviousID, e.PreviousID)
	b.Str(frame.ColGroupID, e.GroupID)
	b.Str(frame.ColSessionID, e.SessionID)
	b.Millis(frame.ColTimestamp, r.timestamp)
	b.Millis(frame.ColOriginalTimestamp, r.original)
	b.Millis(frame.ColSentAt, r.sent)
	b.Millis(frame.ColReceivedAt, r.received)
	b.Str(frame.ColURL, e.PageURL)
	b.Str(frame.ColPath, r.path)
	b.Str(frame.ColHost, r.host)
	b.Str(frame.ColSearch, r.search)
	b.Str(frame.ColTitle, e.PageTitle)
	b.Str(frame.ColReferrer, e.PageReferrer)
	b.Str(frame.ColReferrerHost, r.referrerHost)
	for i, v := range r.utm {
		b.Str(frame.ColUTMSource+i, v)
	}
	b.Text(frame.ColBrowser, r.agent.browser)
	b.Text(frame.ColBrowserVersion, r.agent.browserVersion)
	b.Text(frame.ColOS, r.agent.os)
	b.Text(frame.ColOSVersion, r.agent.osVersion)
	b.Text(frame.ColDeviceType, r.agent.device)
	b.Bool(frame.ColIsBot, r.agent.bot)
	b.Str(frame.ColUserAgent, r.userAgent)
	b.Str(frame.ColIP, r.ip)
	b.Str(frame.ColLocale, e.Locale)
	writeMap(b, frame.ColProperties, frame.ColPropertiesNum, e.Properties)
	writeMap(b, frame.ColTraits, frame.ColTraitsNum, e.Traits)
	writeMap(b, frame.ColContext, frame.ColContextNum, e.Context)
	for i := range e.Extra {
		if !r.asked && string(e.Extra[i].Key) == frame.RequestMark {
			continue // anybody who may send events could reset what a user did since their last request
		}
		b.Entry(frame.ColExtra, e.Extra[i].Key, e.Extra[i].Value)
	}
	b.EndRow()
}

// writeMap writes fields as text, and the numbers among them as numbers too.
func writeMap(b *frame.Block, text, num int, fields []event.Field) {
	for i := range fields {
		f := &fields[i]
		b.Entry(text, f.Key, f.Value)
		if f.IsNum {
			b.FloatEntry(num, f.Key, f.Num)
		}
	}
}
