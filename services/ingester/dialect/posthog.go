package dialect

import (
	"net/url"
	"strings"
	"sync"

	"github.com/millrace/millrace/libs/event"
)

// posthog maps what PostHog's SDKs send to /batch, /e, /i/v0/e, /capture,
// /track and /engage: one event, an array of them, or a batch with the key and
// the time of sending beside it. Old browser SDKs send the same as base64 in a
// form or in the query.
type posthog struct {
	limits event.Limits
	passes sync.Pool // of *posthogPass
}

// NewPostHog returns the mapper of PostHog's SDKs.
func NewPostHog(limits event.Limits) Mapper {
	return &posthog{limits: limits, passes: sync.Pool{New: func() any { return new(posthogPass) }}}
}

// Map implements [Mapper].
func (h *posthog) Map(r *Request) (Mapped, error) {
	body, form, err := posthogBody(r)
	if body == nil || err != nil {
		return Mapped{}, err
	}
	if len(body) > h.limits.MaxRequest {
		return Mapped{}, event.ErrTooLarge
	}
	p := h.passes.Get().(*posthogPass)
	defer h.passes.Put(p)
	defer p.reset()
	p.limits, p.body = h.limits, body
	p.engage = strings.HasSuffix(r.Path, "/engage")
	if err := p.read(); err != nil {
		return Mapped{}, err
	}
	for _, values := range []url.Values{form, r.Query} {
		p.readValues(values)
	}
	events, err := p.events(r)
	if err != nil {
		return Mapped{}, err
	}
	m := Mapped{WriteKey: string(p.key), SentAt: p.sentAt, Events: events}
	if p.historical {
		m.SentAt = 0 // the events' times are right: there is no clock to correct
	}
	return m, nil
}

// posthogPass is the work on one body.
type posthogPass struct {
	limits event.Limits
	body   []byte
	engage bool // the path takes what is known of a user, without an event's name

	cursor, inner event.Cursor
	items         []span
	isBatch       bool
	bare          bool // an array of events with nothing beside it
	key           []byte
	sentAt        int64
	historical    bool
	extra         inherited
	facts         posthogFacts
	known         [][]byte        // keys of traits
	index         map[string]bool // the first of them, if they are many
	indexed       int
	built         room
}

type span struct{ start, end int }

func (p *posthogPass) reset() {
	p.extra.reset()
	p.cursor.Reset(nil)
	p.inner.Reset(nil)
	clear(p.known[:cap(p.known)])
	clear(p.index)
	*p = posthogPass{cursor: p.cursor, inner: p.inner, items: p.items[:0], extra: p.extra, known: p.known[:0], index: p.index}
}

// read finds the events and what is said beside them.
func (p *posthogPass) read() error {
	c := &p.cursor
	c.Reset(p.body)
	start := c.Offset()
	switch c.Kind() {
	case event.KindArray:
		p.bare = true
		if err := p.readBatch(); err != nil {
			return err
		}
		return c.End()
	case event.KindObject:
	default:
		c.Value()
		c.Fail("an object or array is expected")
		return c.End()
	}
	var seen [3]bool
	batches := 0
	for c.Enter(); c.Next(); {
		which := -1
		switch key := string(c.Key()); key {
		case "batch":
			if batches++; batches > 1 {
				c.Fail("batch occurs twice")
				break
			}
			if c.Kind() != event.KindArray {
				c.Fail("batch is not an array")
				break
			}
			p.isBatch = true
			if err := p.readBatch(); err != nil {
				return err
			}
		case "api_key", "token", "$token":
			if len(p.key) == 0 {
				p.key, _ = event.Unquote(c.Value())
			}
		case "sent_at":
			which = 0
			if text, ok := event.Unquote(c.Value()); ok {
				p.sentAt, _ = event.ParseTime(text)
			}
		case "historical_migration":
			which = 1
			p.historical = string(c.Value()) == "true"
		default:
			if f := partOf(c); inheritable(&f) && !event.IsField(f.key) {
				p.extra.add(f)
			}
		}
		if which >= 0 {
			if seen[which] {
				c.Fail("a field that occurred before")
			}
			seen[which] = true
		}
	}
	if err := c.End(); err != nil {
		return err
	}
	if !p.isBatch {
		p.extra.reset()
		p.items = append(p.items, span{start, c.Offset()})
	}
	return nil
}

// readBatch notes the elements of the array at the cursor.
func (p *posthogPass) readBatch() error {
	c := &p.cursor
	for c.Enter(); c.Next(); {
		if len(p.items) == p.limits.MaxEvents {
			return event.ErrTooManyEvents
		}
		start := c.Offset()
		c.Value()
		p.items = append(p.items, span{start, c.Offset()})
	}
	return nil
}

// events makes the canonical events of what was read.
func (p *posthogPass) events(r *Request) ([]Event, error) {
	if err := p.built.open(r, p.limits, len(p.items), p.added()); err != nil {
		return nil, err
	}
	events := make([]Event, len(p.items))
	tooMuch := tooMuch(p.limits, &p.extra)
	for i, at := range p.items {
		e := &events[i]
		e.Original = p.body[at.start:at.end:at.end]
		if e.Refusal = unfit(e.Original, p.limits); e.Refusal == nil {
			e.Refusal = tooMuch
		}
		if e.Refusal != nil {
			continue
		}
		// About half as much again: what has columns of its own is said twice.
		err := p.built.reserve((len(p.body)-at.start)*3/2 + (len(p.items)-i)*(p.extra.size+128))
		if err != nil {
			return nil, err
		}
		if e.Canonical, e.Refusal, err = p.build(e.Original, i); err != nil {
			return nil, err
		}
	}
	return events, nil
}

// added is how many bytes the batch adds to its events, 0 as long as it could
// not be too many.
func (p *posthogPass) added() (size int) {
	most := Growth * p.limits.MaxRequest
	if len(p.items)*p.extra.size <= most || tooMuch(p.limits, &p.extra) != nil {
		return 0
	}
	for _, at := range p.items {
		if raw := p.body[at.start:at.end]; unfit(raw, p.limits) == nil {
			size += p.extra.added(raw, &p.inner)
		}
		if size > most {
			break
		}
	}
	return size
}
