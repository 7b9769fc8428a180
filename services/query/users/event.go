package users

import (
	"cmp"

	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/services/query/tail"
)

// place is when an event was, and where its row is. Events of one user are ordered by it.
type place struct {
	ms    int64
	seq   uint64
	idx   uint32
	shard uint16
}

func (p place) compare(o place) int {
	return cmp.Or(cmp.Compare(p.ms, o.ms), cmp.Compare(p.shard, o.shard), cmp.Compare(p.seq, o.seq), cmp.Compare(p.idx, o.idx))
}

func (p place) same(o place) bool { return p == o }

// field is one value of properties or traits, as text; number says that it was a JSON number.
type field struct {
	key, value string
	number     bool
}

// step is an event without what only recent ones need.
type step struct {
	place
	name    string // the event, or the type of one without a name
	path    string // of a page or screen
	session string // what the client calls its session
	request bool   // it came with an ask
}

// shown is an event as answers show it.
type shown struct {
	place
	kind, name, id string
	request        bool
	properties     []field
}

// entry is all that is taken out of a row.
type entry struct {
	step
	kind, id   string
	properties []field
	traits     []field // of an identify
}

func (e *entry) shown() shown {
	return shown{place: e.place, kind: e.kind, name: e.name, id: e.id, request: e.request, properties: e.properties}
}

// requestMark is the field that ask adds to an event, so that the next one knows what has changed since. The enricher drops
// it from events that came by other doors; whatever its value, a row that has it is a request.
const requestMark = frame.RequestMark

// eventOf reads a row of the tail.
func eventOf(shard int, seq uint64, v *frame.View, r int) entry {
	text := func(c int) string { return string(v.Str(c, r)) }
	e := entry{kind: text(frame.ColType), id: text(frame.ColEventID)}
	e.place = place{ms: v.Millis(frame.ColTimestamp, r), shard: uint16(shard), seq: seq, idx: v.U32(frame.ColIdx, r)}
	e.name, e.session = cmp.Or(text(frame.ColEvent), e.kind), text(frame.ColSessionID)
	if e.kind == typePage || e.kind == typeScreen {
		e.path = cmp.Or(text(frame.ColPath), text(frame.ColEvent))
	}
	for k := range v.Entries(frame.ColExtra, r) {
		e.request = e.request || string(k) == requestMark
	}
	e.properties = fieldsOf(v, frame.ColProperties, frame.ColPropertiesNum, r)
	if e.kind == typeIdentify {
		e.traits = fieldsOf(v, frame.ColTraits, frame.ColTraitsNum, r)
	}
	return e
}

func fieldsOf(v *frame.View, texts, numbers, r int) (fields []field) {
	var number map[string]bool // an event may have a thousand
	for k := range v.FloatEntries(numbers, r) {
		if number == nil {
			number = map[string]bool{}
		}
		number[string(k)] = true
	}
	for k, val := range v.Entries(texts, r) {
		fields = append(fields, field{key: string(k), value: string(val), number: number[string(k)]})
	}
	return fields
}

func eventOfRow(r tail.Row) entry { return eventOf(r.Place.Shard, r.Place.Seq, r.View, r.Row) }
