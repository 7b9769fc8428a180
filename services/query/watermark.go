package query

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/svc"
)

// watermark is how far each shard is by its sink's newest ledger record, kept in memory. One goroutine follows the ledger, any number
// wait.
type watermark struct {
	metrics *metrics
	log     *slog.Logger

	mu        sync.Mutex     // guards all below
	revisions map[int]uint64 // of the newest record, by sink
	shards    map[int]uint64 // what is proven, by shard
	changed   chan struct{}  // closed, and replaced, when a record has come
	following error          // why the ledger is not being followed, nil while it is
}

var errNotFollowed = errors.New("the ledger has not been read yet")

func newWatermark(m *metrics, log *slog.Logger) *watermark {
	return &watermark{metrics: m, log: log, revisions: map[int]uint64{}, shards: map[int]uint64{}, changed: make(chan struct{}), following: errNotFollowed}
}

// put takes a record that is newer than the one that is known.
func (w *watermark) put(rec bus.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.revisions[rec.Sink] >= rec.Revision {
		return
	}
	w.revisions[rec.Sink] = rec.Revision
	for _, p := range rec.Shards {
		w.shards[p.Shard] = p.Proven
		w.metrics.proven.WithLabelValues(strconv.Itoa(p.Shard)).Set(float64(p.Proven))
	}
	close(w.changed)
	w.changed = make(chan struct{})
}

// mark is the shard's watermark.
func (w *watermark) mark(shard int) uint64 {
	seq, _ := w.proven(shard)
	return seq
}

func (w *watermark) state(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.following = err
}

// proven is the shard's watermark, and a channel that is closed when any shard's record changes.
func (w *watermark) proven(shard int) (uint64, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.shards[shard], w.changed
}

// follow keeps the watermark up to date until ctx is done. Nothing else ends it: NATS may go away and come back, and the
// LEDGER stream may come to be after us.
func (s *Service) follow(ctx context.Context) error {
	const first, last = 50 * time.Millisecond, 2 * time.Second
	delay := first
	var lines svc.Repeated
	for {
		worked, err := s.followOnce(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if worked > 2*last { // opening alone proves nothing
			delay = first
			lines.Over()
		}
		s.ledger.state(err)
		s.metrics.reopened.Inc()
		if times, due := lines.Again(); due {
			s.log.Warn("following the ledger begins again", "times", times, "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(delay - rand.N(delay/2)): //nolint:gosec // no secret
		}
		delay = min(2*delay, last)
	}
}

// followOnce reads the newest record of each sink and then every further one. It says for how long it could.
func (s *Service) followOnce(ctx context.Context) (worked time.Duration, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// A consumer's calls need an end of their own: while NATS is away they would wait for as long as they may.
	open, opening := context.WithTimeout(ctx, 5*time.Second)
	defer opening()
	if _, err := s.installation(open); err != nil {
		return 0, err
	}
	consumer, err := s.js.OrderedConsumer(open, s.names.StreamLedger(), jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{s.names.LedgerAll()},
		DeliverPolicy:  jetstream.DeliverLastPerSubjectPolicy,
		// One: follow's own loop is quicker to find a NATS that has come back.
		MaxResetAttempts: 1,
	})
	if err != nil {
		return 0, fmt.Errorf("follow %s: %w", s.names.StreamLedger(), err)
	}
	msgs, err := consumer.Messages(jetstream.PullMaxMessages(512), jetstream.PullHeartbeat(2*time.Second), jetstream.PullExpiry(10*time.Second))
	if err != nil {
		return 0, fmt.Errorf("follow %s: %w", s.names.StreamLedger(), err)
	}
	defer msgs.Stop()
	began := time.Now()
	defer func() { worked = time.Since(began) }()
	s.ledger.state(nil)
	for {
		msg, err := msgs.Next(jetstream.NextContext(ctx))
		if err != nil {
			return 0, fmt.Errorf("follow %s: %w", s.names.StreamLedger(), err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return 0, fmt.Errorf("follow %s: %w", s.names.StreamLedger(), err)
		}
		rec, err := bus.DecodeRecord(msg.Data())
		if err != nil {
			// Not written by an indexer of ours; the sink's next record will do.
			s.log.Error("a ledger record cannot be read", "seq", meta.Sequence.Stream, "err", err)
			continue
		}
		rec.Revision = meta.Sequence.Stream
		s.ledger.put(rec)
	}
}

// followed is the readiness check: whether a watermark that does not move means that nothing was proven.
func (s *Service) followed() error {
	if s.nc.Status() != nats.CONNECTED {
		return fmt.Errorf("NATS: %w", ErrUnavailable)
	}
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	if s.ledger.following != nil {
		return fmt.Errorf("ledger: %w: %w", ErrUnavailable, s.ledger.following)
	}
	return nil
}
