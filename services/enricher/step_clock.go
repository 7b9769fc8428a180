package enricher

import "github.com/millrace/millrace/libs/event"

// stepClock tells when the event happened by the receiver's clock. A client
// whose clock is wrong is wrong by the same amount when it stamps an event and
// when it sends it, so timestamp = received - (sentAt - original), as the
// Segment Spec has it ("Common fields", timestamps). Without sentAt the
// client's time is taken as it is, without any time the receipt's.
func stepClock(r *row) {
	e := r.ev
	r.sent = r.doorSent
	if e.SentAt.Set {
		r.sent = e.SentAt.Ms
	}
	known := e.SentAt.Set || r.doorSent != 0
	r.timestamp, r.original = r.received, r.received
	switch {
	case e.OriginalTimestamp.Set:
		r.original = e.OriginalTimestamp.Ms
		r.timestamp = r.original
		if e.Timestamp.Set {
			r.timestamp = e.Timestamp.Ms
		}
	case e.Timestamp.Set:
		r.original = e.Timestamp.Ms
		r.timestamp = r.original
	default:
		return // the receipt's clock needs no correction
	}
	if !known {
		return
	}
	// The three are within 400 years, so the sum cannot overflow.
	if t := r.received - (r.sent - r.original); t >= event.MinTime && t <= event.MaxTime {
		r.timestamp = t
	} else {
		r.timestamp = r.original
	}
}
