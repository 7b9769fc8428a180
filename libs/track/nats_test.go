package track

import (
	"bytes"
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// stream stands for NATS where time matters: the real one does not live in a
// bubble of testing/synctest. It knows repeats by their id, as JetStream does.
// services/millrace/tracked has the tests with the real one.
type stream struct {
	// fate decides about an attempt: whether the message is stored and what the
	// client is told; nil stores and says so. It runs without the lock.
	fate func(ctx context.Context, attempt int) (stored bool, err error)
	max  int64 // bytes of a message

	mu       sync.Mutex // guards what follows
	attempts []time.Time
	ids      map[string]uint64
	messages []string // bodies
	subjects map[string]bool
	now, top int // attempts at the same time
}

func (s *stream) publish(ctx context.Context, m *nats.Msg) (uint64, error) {
	s.mu.Lock()
	s.attempts = append(s.attempts, time.Now())
	attempt := len(s.attempts)
	s.now++
	s.top = max(s.top, s.now)
	s.mu.Unlock()
	stored, err := true, error(nil)
	if s.fate != nil {
		stored, err = s.fate(ctx, attempt)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now--
	if !stored {
		return 0, err
	}
	if s.ids == nil {
		s.ids, s.subjects = map[string]uint64{}, map[string]bool{}
	}
	id := m.Header.Get(jetstream.MsgIDHeader)
	if _, repeat := s.ids[id]; !repeat {
		s.messages = append(s.messages, string(m.Data))
		s.ids[id] = uint64(len(s.messages))
		s.subjects[m.Subject] = true
	}
	return s.ids[id], err
}

func (s *stream) way() way {
	return way{publish: s.publish, most: func() int64 { return s.max }}
}

// stored is the ids of all events in the stream, in its order.
func (s *stream) stored(t *testing.T) (ids []string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.messages {
		for line := range bytes.Lines([]byte(m)) {
			ids = append(ids, idOf(t, line))
		}
	}
	return ids
}

func idOf(t *testing.T, event []byte) string {
	t.Helper()
	var e struct{ MessageID string }
	if err := json.Unmarshal(event, &e); err != nil {
		t.Fatalf("%v: %s", err, event)
	}
	return e.MessageID
}

// reports collects what OnError is given.
type reports struct {
	mu     sync.Mutex // guards what follows
	events []string
	errs   []error
}

func (r *reports) add(event []byte, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events, r.errs = append(r.events, string(event)), append(r.errs, err)
}

func (r *reports) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.errs)
}

// client starts one on a stream; it is closed with the test.
func client(t testing.TB, s *stream, opts ...Option) (*Client, *reports) {
	t.Helper()
	r := new(reports)
	c, err := start(s.way(), "shop", append([]Option{OnError(r.add)}, opts...))
	if err != nil {
		t.Fatal(err)
	}
	return c, r
}

func closed(t testing.TB, c *Client) {
	t.Helper()
	if err := c.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// event is a small one with an id.
func event(id string) Track { return Track{UserID: "ada", Event: "seen", MessageID: id} }
