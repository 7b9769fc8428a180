package ingester

import (
	"errors"

	"github.com/millrace/millrace/libs/bus/sources"
	"github.com/millrace/millrace/libs/event"
	"github.com/millrace/millrace/libs/event/frame"
)

// Doors, as column door of a RAW frame names them.
const (
	doorHTTP = "http"
	doorNATS = "nats"
	doorAsk  = frame.DoorAsk // request and reply over core NATS, by the query service
)

// maxSentAt is the last ms that a table of ours can hold (end of 2299); what is beyond is no time.
const maxSentAt = 10_413_791_999_999

// maxUserAgent bounds the User-Agent that is repeated with every event.
const maxUserAgent = 1 << 10

// origin is what a door knows about a body beside its bytes.
type origin struct {
	door      string
	source    string
	ip        string
	userAgent string
	ndjson    bool
	sentAt    int64 // ms since 1970, by the sender's clock; 0 when the request does not say

	key   string // HTTP: the Idempotency-Key, "" when there is none
	inSeq uint64 // NATS: the place in IN
	life  uint64 // NATS: the incarnation of IN from which ids are derived
}

// intake turns one body into rows. It is reused from body to body and owned
// by one goroutine; rows refer to the body.
type intake struct {
	shards int
	reader *event.Reader
	each   func(int, []byte, *event.Event, *event.Refusal) error // addEvent, bound once

	// Of mapped events, see mapped.go.
	limits  event.Limits
	scanner *event.Scanner
	event   event.Event

	wire, body []byte // as it came, and decompressed
	from       origin
	sources    *sources.Registry
	source     *sources.Source // of from; nil when only its name is known
	rows       []row
	ids        []byte
	heads      []int32 // per shard its first row, -1 for none
	tails      []int32
	accepted   int
	rejected   []int32 // rows that are refused
}

// row is one event on its way into a frame.
type row struct {
	body   []byte
	reason event.Reason // "" when accepted
	detail string
	id     int32 // where its id begins in ids, -1 when its messageId is its id
	next   int32 // the shard's next row, -1 for none
}

// idLen is the length of the ids that the door gives: UUIDs as text.
const idLen = 36

func newIntake(limits event.Limits, shards int) *intake {
	in := &intake{
		shards: shards,
		reader: event.NewReader(limits), limits: limits,
		heads: make([]int32, shards), tails: make([]int32, shards),
	}
	in.each = in.addEvent
	return in
}

// start forgets the last body.
func (in *intake) start(from origin) {
	clear(in.rows)
	in.from, in.rows, in.ids, in.accepted, in.rejected = from, in.rows[:0], in.ids[:0], 0, in.rejected[:0]
	in.source = in.sources.Find(from.source)
	for i := range in.heads {
		in.heads[i], in.tails[i] = -1, -1
	}
}

// read makes rows of a body that may hold many events. An error is one of the
// body as a whole, and there are no rows then.
func (in *intake) read(body []byte) error {
	_, err := in.reader.Read(body, in.from.ndjson, in.each)
	if err != nil {
		in.start(in.from) // what came before the fault does not count
	}
	return err
}

// refuseWhole makes one refused row of a body.
func (in *intake) refuseWhole(body []byte, reason event.Reason, detail string) {
	in.refuse(0, body, &event.Refusal{Reason: reason, Detail: detail})
}

func (in *intake) addEvent(index int, raw []byte, e *event.Event, refusal *event.Refusal) error {
	if refusal == nil {
		refusal = in.notAllowed(e)
	}
	if refusal != nil {
		in.refuse(index, raw, refusal)
		return nil
	}
	id := int32(-1)
	if len(e.MessageID) == 0 {
		id = in.newID(index)
	}
	in.accepted++
	in.add(row{body: raw, id: id}, e.User())
	return nil
}

// refuse adds a refused row. It always gets an id of the door, since nobody
// may look for a messageId in it; and no user, for the same reason.
func (in *intake) refuse(index int, raw []byte, refusal *event.Refusal) {
	in.rejected = append(in.rejected, int32(len(in.rows)))
	in.add(row{body: raw, reason: refusal.Reason, detail: refusal.Detail, id: in.newID(index)}, nil)
}

func (in *intake) add(r row, user []byte) {
	at := int32(len(in.rows))
	shard := event.ShardOf(in.from.source, user, in.shards)
	if in.heads[shard] < 0 {
		in.heads[shard] = at
	} else {
		in.rows[in.tails[shard]].next = at
	}
	in.tails[shard] = at
	r.next = -1
	in.rows = append(in.rows, r)
}

// newID appends an id to ids: the same one for the same event of a repeated
// request where the door can know that it is repeated.
func (in *intake) newID(index int) int32 {
	at := int32(len(in.ids))
	switch {
	case in.from.door == doorNATS:
		in.ids = event.AppendDerivedID(in.ids, in.from.life, in.from.inSeq, index)
	case in.from.key != "":
		in.ids = event.AppendKeyedID(in.ids, in.from.source, in.from.key, index)
	default:
		in.ids = event.AppendNewID(in.ids)
	}
	return at
}

func (in *intake) idOf(r *row) []byte {
	if r.id < 0 {
		return nil
	}
	return in.ids[r.id : r.id+idLen]
}

// rowSize is about what a row takes in a frame.
func (in *intake) rowSize(i int32) int {
	const fixed = 8 + 8 + 12 // two numbers, and the lengths of the strings
	r := &in.rows[i]
	return fixed + len(in.from.source) + len(in.from.door) + len(in.from.ip) + len(in.from.userAgent) +
		len(in.idOf(r)) + len(r.reason) + len(r.detail) + len(r.body)
}

// writeRow appends row i to a RAW block.
func (in *intake) writeRow(b *frame.Block, i int32) {
	r := &in.rows[i]
	b.Text(frame.RawSource, in.from.source)
	b.Text(frame.RawDoor, in.from.door)
	b.Text(frame.RawIP, in.from.ip)
	b.Text(frame.RawUserAgent, in.from.userAgent)
	b.Millis(frame.RawSentAt, in.from.sentAt)
	b.U64(frame.RawInSeq, in.from.inSeq)
	b.Str(frame.RawEventID, in.idOf(r))
	b.Text(frame.RawReason, string(r.reason))
	b.Text(frame.RawDetail, r.detail)
	b.Str(frame.RawBody, r.body)
	b.EndRow()
}

// wholeBody names the reason for which a body that cannot be read, and cannot
// be sent back either, becomes one dead letter.
func wholeBody(err error) (event.Reason, string) {
	switch {
	case errors.Is(err, event.ErrTooLarge):
		return event.ReasonTooLarge, err.Error()
	case errors.Is(err, event.ErrTooManyEvents):
		return event.ReasonTooManyEvents, err.Error()
	case errors.Is(err, event.ErrEncoding), errors.Is(err, event.ErrDecompression):
		return event.ReasonDecompression, err.Error()
	}
	return event.ReasonMalformed, err.Error()
}
