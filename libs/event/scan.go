package event

import (
	"fmt"
	"hash/maphash"
)

// Scanner reads events in one pass. It is cheap to keep and not safe for
// concurrent use: one for each goroutine.
type Scanner struct {
	limits Limits
	walker walker

	// One set for each level of an event whose keys are interpreted: they are
	// open at the same time.
	topKeys, midKeys, lowKeys keySet
	// The fields of context.page and context.campaign of the event at hand.
	page, campaign []Field

	track []byte // the type of events that name none
}

// NewScanner returns a Scanner for events within limits, which must be valid.
func NewScanner(limits Limits) *Scanner {
	seed := maphash.MakeSeed()
	return &Scanner{
		limits:  limits,
		walker:  newWalker(limits),
		topKeys: newKeySet(seed, limits.MaxKeys),
		midKeys: newKeySet(seed, limits.MaxKeys),
		lowKeys: newKeySet(seed, limits.MaxKeys),
		track:   []byte("track"),
	}
}

// Scan reads the one event that data holds into e, whose slices then refer to
// data and to e's own buffer. It returns nil if the event is accepted. After a
// refusal e holds what was read before the fault.
//
// The first fault in the order of the bytes decides, then what is missing.
func (s *Scanner) Scan(data []byte, e *Event) *Refusal {
	s.reset(e)
	if len(data) > s.limits.MaxEvent {
		return tooLarge(len(data), s.limits.MaxEvent)
	}
	i := skipSpace(data, 0)
	isObject := i < len(data) && data[i] == '{'
	if isObject {
		i = s.event(data, i, e)
	} else {
		i = s.walker.value(data, i, 0)
	}
	if i < 0 {
		return s.refusal()
	}
	if i = skipSpace(data, i); i < len(data) {
		s.walker.unexpected(data, i, "the end")
		return s.refusal()
	}
	if !isObject {
		return &Refusal{Reason: ReasonNotAnObject}
	}
	return s.finish(e)
}

// reset forgets the event before.
func (s *Scanner) reset(e *Event) {
	e.reset()
	s.walker.keys = 0
	s.page, s.campaign = s.page[:0], s.campaign[:0]
}

func tooLarge(size, limit int) *Refusal {
	return &Refusal{ReasonTooLarge, fmt.Sprintf("%d bytes, the limit is %d", size, limit)}
}

func (s *Scanner) refusal() *Refusal {
	f := s.walker.fault
	return &Refusal{f.reason, fmt.Sprintf("%s at byte %d", f.msg, f.offset)}
}

// finish checks what only the whole event can tell.
func (s *Scanner) finish(e *Event) *Refusal {
	if len(e.Type) == 0 {
		e.Type = s.track
	}
	e.interpretContext(s.page, s.campaign)
	if string(e.Type) == "page" {
		e.interpretPage(e.Properties)
	}
	e.interpretSession(s.limits.MaxID)
	if r := s.nameOfPage(e); r != nil {
		return r
	}
	if len(e.UserID) == 0 && len(e.AnonymousID) == 0 {
		return &Refusal{ReasonNoUser, "neither userId nor anonymousId"}
	}
	if len(e.Name) == 0 && string(e.Type) == "track" {
		return &Refusal{ReasonNoEvent, "a track call needs the field event"}
	}
	return nil
}

// nameOfPage moves the field name out of Extra, where it waited for the type
// to be known, if it is the name of a page or screen.
func (s *Scanner) nameOfPage(e *Event) *Refusal {
	if t := string(e.Type); len(e.Name) > 0 || (t != "page" && t != "screen") {
		return nil
	}
	for i := range e.Extra {
		f := &e.Extra[i]
		if string(f.Key) != "name" {
			continue
		}
		switch {
		case f.Kind != KindString && f.Kind != KindNull:
			return &Refusal{ReasonBadField, "name is not a string"}
		case len(f.Value) > s.limits.MaxName && f.Kind == KindString:
			return &Refusal{ReasonNameTooLong, "name is longer than the limit"}
		case f.Kind == KindString:
			e.Name = f.Value
		}
		e.Extra = append(e.Extra[:i], e.Extra[i+1:]...)
		return nil
	}
	return nil
}

// event reads the object that starts at data[i] and returns the index after it.
func (s *Scanner) event(data []byte, i int, e *Event) int {
	i = skipSpace(data, i+1)
	if i < len(data) && data[i] == '}' {
		return i + 1
	}
	var seen uint32 // known fields, a bit for each
	for {
		at := i
		key, i2 := s.key(data, i, e)
		if i = i2; i < 0 {
			return -1
		}
		f := fieldOf(key)
		// name may stay an extra field, so it is one until the type is known.
		if f == fieldExtra || f == fieldName {
			if s.topKeys.has(e.Extra, key) {
				return s.walker.fail(ReasonDuplicateKey, at, "a key that occurred before")
			}
			e.Extra = grow(e.Extra)
			last := &e.Extra[len(e.Extra)-1]
			last.Key = key
			i = s.value(data, i, 1, e, last)
		} else {
			if seen&(1<<f) != 0 {
				return s.walker.fail(ReasonDuplicateKey, at, "a field that occurred before")
			}
			seen |= 1 << f
			i = s.known(data, i, e, f)
		}
		if i < 0 {
			return -1
		}
		i = skipSpace(data, i)
		if i >= len(data) || data[i] != ',' {
			break
		}
		i = skipSpace(data, i+1)
	}
	if i >= len(data) || data[i] != '}' {
		return s.walker.unexpected(data, i, "',' or '}'")
	}
	return i + 1
}

// known reads the value of a known field at data[i].
func (s *Scanner) known(data []byte, i int, e *Event, f field) int {
	at := i
	switch f {
	case fieldProperties:
		e.Properties, i = s.objectField(data, i, e, e.Properties, levelMap, "properties is not an object")
		return i
	case fieldTraits:
		e.Traits, i = s.objectField(data, i, e, e.Traits, levelMap, "traits is not an object")
		return i
	case fieldContext:
		e.Context, i = s.objectField(data, i, e, e.Context, levelContext, "context is not an object")
		return i
	}
	var v Field
	if i = s.value(data, i, 1, e, &v); i < 0 || f == fieldWriteKey || v.Kind == KindNull {
		// The write key is a secret that has done its work at the door.
		return i
	}
	switch f {
	case fieldTimestamp:
		return s.time(i, at, &v, &e.Timestamp)
	case fieldOriginalTimestamp:
		return s.time(i, at, &v, &e.OriginalTimestamp)
	case fieldSentAt:
		return s.time(i, at, &v, &e.SentAt)
	case fieldType:
		if v.Kind != KindString || !knownType(v.Value) {
			return s.walker.fail(ReasonBadType, at, "type is none of track, identify, page, screen, group, alias")
		}
		e.Type = v.Value
	case fieldEvent:
		if v.Kind != KindString {
			return s.walker.fail(ReasonBadField, at, "event is not a string")
		}
		if len(v.Value) > s.limits.MaxName {
			return s.walker.fail(ReasonNameTooLong, at, "event is longer than the limit")
		}
		e.Name = v.Value
	default:
		// Clients whose ids are numbers send them as such: the text counts.
		if v.Kind != KindString && v.Kind != KindNumber {
			return s.walker.fail(ReasonBadField, at, "an id is neither string nor number")
		}
		if len(v.Value) > s.limits.MaxID {
			return s.walker.fail(ReasonIDTooLong, at, "an id is longer than the limit")
		}
		*e.id(f) = v.Value
	}
	return i
}

func (s *Scanner) time(i, at int, v *Field, t *Time) int {
	if v.Kind == KindString {
		t.Ms, t.Set = ParseTime(v.Value)
	}
	if !t.Set {
		return s.walker.fail(ReasonBadTimestamp, at, "no RFC 3339 time between 1900 and 2299")
	}
	return i
}
