package track

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// wire is an event as the door reads it (schemas/event/event.schema.json).
//
// It has no sentAt: the receiver would correct the timestamp with it, and a
// message that NATS takes after an outage was written long before.
type wire struct {
	Type        string     `json:"type"`
	MessageID   string     `json:"messageId"`
	Timestamp   string     `json:"timestamp"`
	UserID      string     `json:"userId,omitempty"`
	AnonymousID string     `json:"anonymousId,omitempty"`
	PreviousID  string     `json:"previousId,omitempty"`
	GroupID     string     `json:"groupId,omitempty"`
	SessionID   string     `json:"sessionId,omitempty"`
	Event       string     `json:"event,omitempty"`
	Name        string     `json:"name,omitempty"`
	Properties  Properties `json:"properties,omitempty"`
	Traits      Traits     `json:"traits,omitempty"`
	Context     Context    `json:"context,omitempty"`

	at  time.Time
	raw Raw
}

func (w *wire) common(user, anonymous, session string, c Context, id string, at time.Time) {
	w.UserID, w.AnonymousID, w.SessionID = user, anonymous, session
	w.Context, w.MessageID, w.at = c, id, at
}

// Years that a column DateTime64 holds; the door refuses others.
const (
	firstYear = 1900
	lastYear  = 2299
)

// timeFormat has milliseconds, as the column has.
const timeFormat = "2006-01-02T15:04:05.000Z"

// check says what the door would refuse, so that the one who made the mistake
// hears of it at once. Limits that an operator may change are not among it.
func (w *wire) check() error {
	switch {
	case w.UserID == "" && w.AnonymousID == "":
		return errors.New("neither UserID nor AnonymousID")
	case w.Type == "track" && w.Event == "":
		return errors.New("no Event")
	case w.Type == "group" && w.GroupID == "":
		return errors.New("no GroupID")
	case w.Type == "alias" && w.PreviousID == "":
		return errors.New("no PreviousID")
	case w.at.Year() < firstYear || w.at.Year() > lastYear:
		return fmt.Errorf("the Timestamp is not between %d and %d", firstYear, lastYear)
	}
	return nil
}

// encoder is kept between calls with its buffer.
type encoder struct {
	buf  bytes.Buffer
	json *json.Encoder
	wire wire
}

// keptBuffer bounds what an encoder that is kept may hold.
const keptBuffer = 64 << 10

func newEncoder() any {
	e := new(encoder)
	e.json = json.NewEncoder(&e.buf)
	e.json.SetEscapeHTML(false) // <, > and & are themselves
	return e
}

// encode writes a message as one line of NDJSON into the encoder's buffer and
// returns its id. The buffer holds it also if it is refused for what it lacks,
// and nothing if it cannot be written. It runs code of the caller's, such as
// MarshalJSON, so it recovers.
func (e *encoder) encode(ctx context.Context, m Message, c Context) (id string, err error) {
	e.buf.Reset()
	e.wire = wire{}
	defer func() {
		if p := recover(); p != nil {
			e.buf.Reset() // half an event is none
			err = fmt.Errorf("%w: %T: writing it panicked: %v", ErrInvalid, m, p)
		}
	}()
	if m == nil {
		return "", fmt.Errorf("%w: there is no message", ErrInvalid)
	}
	w := &e.wire
	m.fill(w)
	if w.Type == "" {
		return e.encodeRaw(w.raw)
	}
	now := time.Now()
	if w.at.IsZero() {
		w.at = now
	}
	w.at = w.at.UTC()
	w.Timestamp = w.at.Format(timeFormat)
	if w.MessageID == "" {
		w.MessageID = newID(now)
	}
	w.Context = merged(c, contextOf(ctx), w.Context)
	if err = e.json.Encode(w); err == nil { // and a newline
		err = w.check()
	}
	if err != nil {
		return w.MessageID, fmt.Errorf("%w: %s %q, messageId %q: %w", ErrInvalid, w.Type, w.Event, w.MessageID, err)
	}
	return w.MessageID, nil
}

func (e *encoder) encodeRaw(raw Raw) (id string, err error) {
	var known struct {
		MessageID string `json:"messageId"`
	}
	err = json.Compact(&e.buf, raw) // one line
	if err == nil {
		err = json.Unmarshal(raw, &known)
	}
	if err == nil && known.MessageID == "" {
		err = errors.New("no messageId: a repeat would be a second event")
	}
	if err != nil {
		e.buf.Reset()
		e.buf.Write(raw)
		return known.MessageID, fmt.Errorf("%w: raw: %w", ErrInvalid, err)
	}
	e.buf.WriteByte('\n')
	return known.MessageID, nil
}
