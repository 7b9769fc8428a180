package event

import "bytes"

// Splitter cuts request bodies into events. It keeps its buffers between
// bodies and is not safe for concurrent use: one for each goroutine.
type Splitter struct {
	limits Limits
	walker walker
	events []span
}

// span is where an event lies in the body.
type span struct{ start, end int }

// NewSplitter returns a Splitter for bodies within limits, which must be valid.
func NewSplitter(limits Limits) *Splitter {
	return &Splitter{limits: limits, walker: newFreeWalker()}
}

// Split cuts body with the default limits; see [Splitter.Split].
func Split(body []byte, ndjson bool, fn func(index int, raw []byte, refusal *Refusal) error) (n int, err error) {
	return NewSplitter(DefaultLimits()).Split(body, ndjson, fn)
}

// Split hands the events of body to fn, in order and with their index from 0,
// and returns how many there are. raw is the part of body that is the event:
// no white space around it, but for NDJSON, where it is the line without its
// line ending. refusal is set where cutting alone shows that the event is
// none; any other event is for the Scanner to judge.
//
// A body is one event, an array of events, or several events one after
// another. With ndjson (a Content-Type said so) every line is an event and
// blank lines do not count; a line that is not JSON is its own event's fault.
// Without, values that follow each other are taken as they are, and if some
// are broken but the first stands on a line of its own, the lines are events
// as with ndjson. A byte order mark at the start is skipped.
//
// Faults of one event's content (not an object, UTF-8, keys, depth, size)
// never make the body unreadable; an array or single event that is not JSON
// does, and so does a body without any value: err is then a *SyntaxError.
// ErrTooManyEvents and ErrTooLarge are the others. With any of them fn was not
// called. An error of fn ends the hand-out and is returned as it is.
func (s *Splitter) Split(body []byte, ndjson bool, fn func(index int, raw []byte, refusal *Refusal) error) (n int, err error) {
	if len(body) > s.limits.MaxRequest {
		return 0, ErrTooLarge
	}
	s.events = s.events[:0]
	if err := s.cut(body, ndjson); err != nil {
		return 0, err
	}
	for i, at := range s.events {
		raw := body[at.start:at.end:at.end]
		if err := fn(i, raw, s.judge(raw)); err != nil {
			return i, err
		}
	}
	return len(s.events), nil
}

// judge refuses what is no event whatever is in it.
func (s *Splitter) judge(raw []byte) *Refusal {
	if len(raw) > s.limits.MaxEvent {
		return tooLarge(len(raw), s.limits.MaxEvent)
	}
	return nil
}

// begin is where body begins after a byte order mark, and its first value.
func begin(body []byte) (start, first int) {
	if bytes.HasPrefix(body, []byte(byteOrderMark)) {
		start = len(byteOrderMark)
	}
	return start, skipSpace(body, start)
}

const byteOrderMark = "\xEF\xBB\xBF"

// cut finds the events of body.
func (s *Splitter) cut(body []byte, ndjson bool) error {
	start, first := begin(body)
	if first == len(body) {
		return &SyntaxError{Offset: first, Line: 1, Msg: "an empty body"}
	}
	if ndjson {
		return s.lines(body, start)
	}
	if body[first] == '[' {
		return s.array(body, first)
	}
	return s.values(body, start, first)
}

// add notes one event.
func (s *Splitter) add(start, end int) error {
	if len(s.events) == s.limits.MaxEvents {
		return ErrTooManyEvents
	}
	s.events = append(s.events, span{start, end})
	return nil
}

// lines takes every line that is not blank as an event.
func (s *Splitter) lines(body []byte, i int) error {
	for i < len(body) {
		end, next := len(body), len(body)
		if n := bytes.IndexByte(body[i:], '\n'); n >= 0 {
			end, next = i+n, i+n+1
		}
		if end > i && body[end-1] == '\r' {
			end--
		}
		if skipSpace(body[:end], i) < end {
			if err := s.add(i, end); err != nil {
				return err
			}
		}
		i = next
	}
	return nil
}

// array takes the elements of the array at body[i] as events.
func (s *Splitter) array(body []byte, i int) error {
	return s.elements(body, i, func(start int) (int, error) {
		end := s.walker.value(body, start, 0)
		if end < 0 {
			return -1, s.broken(body)
		}
		return end, s.add(start, end)
	})
}

// elements walks the array at body[i]. element reads the one that starts at an
// index and returns the index after it; its error ends the walk.
func (s *Splitter) elements(body []byte, i int, element func(start int) (end int, err error)) error {
	w := &s.walker
	i = skipSpace(body, i+1)
	if i < len(body) && body[i] == ']' {
		i++
	} else {
		for {
			var err error
			if i, err = element(i); err != nil {
				return err
			}
			i = skipSpace(body, i)
			if i < len(body) && body[i] == ',' {
				i = skipSpace(body, i+1)
				continue
			}
			if i < len(body) && body[i] == ']' {
				i++
				break
			}
			w.unexpected(body, i, "',' or ']'")
			return s.broken(body)
		}
	}
	if i = skipSpace(body, i); i < len(body) {
		w.unexpected(body, i, "the end")
		return s.broken(body)
	}
	return nil
}

// values takes one value, or several after each other, as events. start is
// the first byte of the body, i that of the first value.
func (s *Splitter) values(body []byte, start, i int) error {
	first := i
	firstLine := false // the first value has a line for itself
	for i < len(body) {
		at := i
		if i = s.walker.value(body, i, 0); i < 0 {
			break
		}
		if err := s.add(at, i); err != nil {
			return err
		}
		end := i
		i = skipSpace(body, i)
		if at == first {
			gap := body[end:i]
			firstLine = bytes.IndexByte(gap, '\n') >= 0 && bytes.IndexByte(body[first:end], '\n') < 0
		}
	}
	if i >= 0 {
		return nil
	}
	if firstLine {
		s.events = s.events[:0]
		return s.lines(body, start)
	}
	return s.broken(body)
}

// broken turns the walker's fault into the error of the whole body.
func (s *Splitter) broken(body []byte) error {
	return syntaxError(body, s.walker.fault)
}

func syntaxError(body []byte, f fault) *SyntaxError {
	return &SyntaxError{
		Offset: f.offset,
		Line:   1 + bytes.Count(body[:f.offset], []byte{'\n'}),
		Msg:    f.msg,
	}
}
