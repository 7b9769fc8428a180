package enricher

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/millrace/millrace/libs/event"
	"github.com/millrace/millrace/libs/event/frame"
)

// Stages of a refusal, as in subjects and verdicts.
const (
	stageDoor     = "door"
	stageEnricher = "enricher"
)

const (
	// maxVerdict bounds the verdict's text: JetStream takes 64 KiB of headers
	// in all (nats-server stream.go, error 10097). Longer ones are packed.
	maxVerdict = 40 << 10
	maxHeaders = 64 << 10
	// maxEvents bounds what the header of a frame that cannot be read may
	// claim to have held.
	maxEvents = 1 << 20
)

// rawFrame is one message of RAW.
type rawFrame struct {
	seq      uint64
	received time.Time // JetStream's timestamp
	id       string    // random, given by the ingester
	codec    int
	events   int    // what the header says; -1 when it says nothing
	pending  uint64 // messages of RAW after it, when it was sent
	body     []byte
}

// refusal is one refused event of the frame at hand.
type refusal struct {
	idx                   int
	stage, reason, detail string
}

// mill turns RAW frames of one shard into ENRICHED ones. Everything it needs
// for an event is kept between events, so that an event costs no allocation.
// It is owned by one goroutine.
type mill struct {
	shard      uint16
	maxPayload int // of a NATS message, bytes
	scanner    *event.Scanner
	steps      *steps
	seen       *dedup
	reasons    map[string]string // of the closed set, to itself
	deadly     map[place]bool    // events that killed a process: never read

	seq     uint64 // of the frame at hand
	ev      event.Event
	view    *frame.View
	block   *frame.Block
	row     row
	unpack  []byte
	native  []byte
	packed  []byte
	refused []refusal
}

// place is an event of RAW.
type place struct {
	Seq uint64 `json:"seq"`
	Idx int    `json:"idx"`
}

func newMill(shard int, limits event.Limits, maxPayload int, seen *dedup, deadly map[place]bool) *mill {
	m := &mill{
		shard: uint16(shard), maxPayload: maxPayload, seen: seen, deadly: deadly,
		scanner: event.NewScanner(limits), steps: newSteps(), reasons: map[string]string{},
		view: frame.NewView(frame.RawSchema), block: frame.NewBlock(frame.RowSchema),
	}
	for _, r := range event.Reasons() {
		m.reasons[string(r)] = string(r)
	}
	return m
}

// enrich answers a frame. The body is written into dst's memory where it fits.
// Events are counted completely: In = Rows + Repeats + refused. before, if set,
// is called with the index of each event that is going to be read.
func (m *mill) enrich(f *rawFrame, dst []byte, before func(idx int)) (body []byte, v frame.Verdict) {
	m.block.Reset()
	m.refused = m.refused[:0]
	if err := m.open(f); err != nil {
		m.seen.begin(f.seq, f.received, 0)
		v = frame.Verdict{In: min(max(f.events, 1), maxEvents), Undecodable: true}
		v.Refused = []frame.Refused{{Count: v.In, Stage: stageEnricher, Reason: string(event.ReasonUndecodable), Detail: err.Error()}}
		return m.pack(dst), v
	}
	m.seen.begin(f.seq, f.received, m.view.Rows())
	v.In = m.view.Rows()
	for i := range v.In {
		if before != nil && !m.deadly[place{f.seq, i}] {
			before(i)
		}
		if m.event(f, i) {
			v.Repeats++
		}
	}
	body = m.pack(dst)
	v.Rows = m.block.Rows()
	m.list(&v)
	for len(body)+maxHeaders > m.maxPayload && v.Rows > 0 && len(body)+len(frame.Encode(&v))+4096 > m.maxPayload {
		body = m.shrink(body, &v)
	}
	return body, v
}

// lost is the body of the empty frame that stands for a missing message.
func (m *mill) lost(dst []byte) []byte {
	m.block.Reset()
	return m.pack(dst)
}

// readBack adds the ids of a frame that was answered before.
func (m *mill) readBack(f *rawFrame) {
	if err := m.open(f); err != nil {
		m.seen.begin(f.seq, f.received, 0)
		return
	}
	m.seen.begin(f.seq, f.received, m.view.Rows())
	for i := range m.view.Rows() {
		m.remember(i)
	}
}

func (m *mill) remember(i int) {
	if id, _ := m.read(i); len(id) > 0 {
		m.seen.repeat(m.view.Str(frame.RawSource, i), id)
	}
}

func (m *mill) open(f *rawFrame) error {
	m.seq = f.seq
	native, err := frame.Unpack(m.unpack, f.body)
	if err != nil {
		return err
	}
	m.unpack = native
	return m.view.Parse(native)
}

// event gives event i its row, or says why it gets none.
func (m *mill) event(f *rawFrame, i int) (repeat bool) {
	id, why := m.read(i)
	source := m.view.Str(frame.RawSource, i)
	if len(id) > 0 && m.seen.repeat(source, id) {
		return true
	}
	if why.reason == "" {
		r := &m.row
		r.start()
		r.ev, r.id, r.source, r.received = &m.ev, id, source, f.received.UnixMilli()
		r.doorIP, r.doorAgent = m.view.Str(frame.RawIP, i), m.view.Str(frame.RawUserAgent, i)
		r.doorSent = m.view.Millis(frame.RawSentAt, i)
		r.asked = string(m.view.Str(frame.RawDoor, i)) == frame.DoorAsk
		why = m.improve(r)
	}
	if why.reason != "" {
		m.refuse(i, why.stage, why.reason, why.detail)
		return false
	}
	m.row.write(m.block, m.shard, f.seq, i)
	return false
}

// read finds the id of event i, empty when it has none, and whether the event
// was or is refused. Reading back uses the same function, so that what is
// remembered cannot differ from what was.
func (m *mill) read(i int) (id []byte, why refusal) {
	id = m.view.Str(frame.RawEventID, i)
	if reason := m.view.Str(frame.RawReason, i); len(reason) > 0 {
		return id, refusal{stage: stageDoor, reason: m.known(reason)}
	}
	if len(m.deadly) > 0 && m.deadly[place{m.seq, i}] {
		return id, refusal{stage: stageEnricher, reason: string(event.ReasonCrash), detail: "processes died while they handled this event"}
	}
	given := id
	defer func() {
		if p := recover(); p != nil {
			id, why = given, m.panicked(p)
		}
	}()
	refused := m.scanner.Scan(m.view.Str(frame.RawBody, i), &m.ev)
	if len(m.ev.MessageID) > 0 {
		id = m.ev.MessageID
	}
	if refused != nil {
		why = refusal{stage: stageEnricher, reason: string(refused.Reason), detail: refused.Detail}
	}
	return id, why
}

// improve runs the steps.
func (m *mill) improve(r *row) (why refusal) {
	defer func() {
		if p := recover(); p != nil {
			why = m.panicked(p)
		}
	}()
	m.steps.apply(r)
	return why
}

func (m *mill) panicked(p any) refusal {
	return refusal{stage: stageEnricher, reason: string(event.ReasonPanic), detail: fmt.Sprint(p)}
}

func (m *mill) refuse(idx int, stage, reason, detail string) {
	m.refused = append(m.refused, refusal{idx, stage, reason, detail})
}

// known is a door's reason as a string without allocation. A code of a newer
// door is kept if it can be a subject's token.
func (m *mill) known(reason []byte) string {
	if r, ok := m.reasons[string(reason)]; ok {
		return r
	}
	for _, c := range reason {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return string(event.ReasonMalformed)
		}
	}
	return string(reason)
}

// list writes the refusals into the verdict, in a form that fits a header.
func (m *mill) list(v *frame.Verdict) {
	v.Refused = nil
	slices.SortFunc(m.refused, func(a, b refusal) int { return cmp.Compare(a.idx, b.idx) })
	for _, r := range m.refused {
		v.Refuse(r.idx, r.stage, r.reason, r.detail)
	}
	if len(v.Refused) > maxVerdict/1024 && len(frame.Encode(v)) > maxVerdict {
		v.Pack()
	}
}

// shrink refuses the largest rows of a frame that is too large for a message.
// The door's cap on frames keeps this from happening; without it a single
// frame could stop its shard.
func (m *mill) shrink(dst []byte, v *frame.Verdict) []byte {
	view := frame.NewView(frame.RowSchema)
	if err := view.Parse(m.native); err != nil {
		panic(err) // it was written a moment ago
	}
	type sized struct{ row, bytes int }
	rows := make([]sized, view.Rows())
	for r := range rows {
		rows[r] = sized{r, len(m.view.Str(frame.RawBody, int(view.U32(frame.ColIdx, r))))}
	}
	slices.SortFunc(rows, func(a, b sized) int { return cmp.Or(b.bytes-a.bytes, a.row-b.row) })
	out := map[int]bool{}
	for _, s := range rows[:1+len(rows)/10] {
		out[s.row] = true
		m.refuse(int(view.U32(frame.ColIdx, s.row)), stageEnricher, string(event.ReasonTooLarge), "the enriched frame is too large for a message")
	}
	m.block.Reset()
	for r := range view.Rows() {
		if !out[r] {
			m.block.AppendRow(view, r)
		}
	}
	v.Rows = m.block.Rows()
	m.list(v)
	m.native = nil // the view still reads it
	return m.pack(dst)
}

func (m *mill) pack(dst []byte) []byte {
	m.native = m.block.AppendNative(m.native[:0])
	// Compressing needs more room than it fills; what waits for its
	// acknowledgement takes no more than it must.
	m.packed = frame.Pack(m.packed, m.native)
	return append(dst[:0], m.packed...)
}
