package event

import "fmt"

// Reader cuts request bodies into events and scans them in the same pass. It
// does what [Splitter.Split] and [Scanner.Scan] of each piece do, and says the
// same about every body and event (FuzzRead holds it to that); but the bytes of
// a good event are walked once, where most of the door's time went into walking
// them twice. It keeps its buffers between bodies and is not safe for
// concurrent use: one for each goroutine.
type Reader struct {
	splitter *Splitter
	scanner  *Scanner
	event    Event
	fn       func(index int, raw []byte, e *Event, refusal *Refusal) error
	scanned  func(index int, raw []byte, refusal *Refusal) error // scanPiece, bound once
}

// NewReader returns a Reader for bodies within limits, which must be valid.
func NewReader(limits Limits) *Reader {
	r := &Reader{splitter: NewSplitter(limits), scanner: NewScanner(limits)}
	r.scanned = r.scanPiece
	return r
}

// Read hands the events of body to fn as [Splitter.Split] does, with what is
// in them; e is valid until fn returns. After a refusal e holds what was read
// before the fault.
//
// A fault of an array may show only at its end: when err is one of the body,
// fn may have been called, and what it collected is void.
func (r *Reader) Read(body []byte, ndjson bool, fn func(index int, raw []byte, e *Event, refusal *Refusal) error) (n int, err error) {
	if len(body) > r.splitter.limits.MaxRequest {
		return 0, ErrTooLarge
	}
	r.fn = fn
	if !ndjson {
		_, first := begin(body)
		if first < len(body) && body[first] == '[' {
			return r.array(body, first)
		}
		if end, refusal := r.scanWithin(body, first); end > 0 && skipSpace(body, end) == len(body) {
			return 1, fn(0, body[first:end:end], &r.event, refusal)
		}
	}
	return r.splitter.Split(body, ndjson, r.scanned)
}

// scanPiece scans an event that was cut out before.
func (r *Reader) scanPiece(index int, raw []byte, refusal *Refusal) error {
	if refusal == nil {
		refusal = r.scan(raw)
	}
	return r.fn(index, raw, &r.event, refusal)
}

// array reads the array at body[i].
func (r *Reader) array(body []byte, i int) (n int, err error) {
	var stopped error // by fn
	err = r.splitter.elements(body, i, func(start int) (int, error) {
		end, refusal := r.scanWithin(body, start)
		if end < 0 {
			if end = r.splitter.walker.value(body, start, 0); end < 0 {
				return -1, r.splitter.broken(body)
			}
			if refusal = r.splitter.judge(body[start:end]); refusal == nil {
				refusal = r.scan(body[start:end])
			}
		}
		if n == r.splitter.limits.MaxEvents {
			return -1, ErrTooManyEvents
		}
		if stopped = r.fn(n, body[start:end:end], &r.event, refusal); stopped != nil {
			return -1, stopped
		}
		n++
		return end, nil
	})
	if err != nil && stopped == nil {
		return 0, err
	}
	return n, err
}

// scanWithin reads the event at body[i] and returns its end; -1 if there is no
// event of acceptable size and grammar. Then the walker finds the end and
// [Reader.scan] the reason, as if the event stood alone.
func (r *Reader) scanWithin(body []byte, i int) (end int, refusal *Refusal) {
	if i >= len(body) || body[i] != '{' {
		return -1, nil
	}
	defer func() {
		if recover() != nil { // scan will say it
			end = -1
		}
	}()
	r.scanner.reset(&r.event)
	window := body[i:min(len(body), i+r.scanner.limits.MaxEvent)]
	if end = r.scanner.event(window, 0, &r.event); end < 0 {
		return -1, nil
	}
	return i + end, r.scanner.finish(&r.event)
}

// scan reads one event by itself. A fault of the scanner costs the event and
// not its neighbours, nor the process, which would meet it again and again in
// IN.
func (r *Reader) scan(raw []byte) (refusal *Refusal) {
	defer func() {
		if p := recover(); p != nil {
			refusal = &Refusal{Reason: ReasonPanic, Detail: fmt.Sprint("it could not be read: ", p)}
		}
	}()
	return r.scanner.Scan(raw, &r.event)
}
