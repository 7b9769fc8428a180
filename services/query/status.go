package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
)

// Status is the answer of GET /v1/status.
type Status struct {
	Installation InstallationStatus `json:"installation"`
	NATS         Condition          `json:"nats"`
	ClickHouse   Condition          `json:"clickhouse"`
	Door         Condition          `json:"door"` // of NATS: whether messages of IN are taken
	Shards       []ShardStatus      `json:"shards"`
	Streams      StreamsStatus      `json:"streams"`
	At           time.Time          `json:"at"` // of the numbers; older than the answer while NATS is away
}

// InstallationStatus names the installation.
type InstallationStatus struct {
	Prefix      string `json:"prefix"`
	Shards      int    `json:"shards"`
	Sinks       int    `json:"sinks"`
	Incarnation uint64 `json:"incarnation"`
}

// ShardStatus says how far one shard is. Accepted, Enriched, Indexed, Dead and Repeats count events since the
// installation began; what is accepted and not yet proven is Lag.
type ShardStatus struct {
	Shard int `json:"shard"`
	// What Condition says, of the shard.
	State  string    `json:"state"`
	Reason string    `json:"reason,omitempty"`
	Why    string    `json:"why,omitempty"`
	Since  time.Time `json:"since,omitzero"`

	Accepted  uint64  `json:"accepted"`
	Enriched  uint64  `json:"enriched"`
	Indexed   uint64  `json:"indexed"`
	Dead      uint64  `json:"dead"`
	Repeats   uint64  `json:"repeats"`
	Lag       uint64  `json:"lag_events"`
	LagTime   float64 `json:"lag_seconds"` // age of the oldest frame that is not proven
	Estimated bool    `json:"estimated"`   // Accepted, Enriched and Lag are estimated because the lag is long

	Raw      Range  `json:"raw"`
	Enricher uint64 `json:"enriched_seq"`
	Proven   uint64 `json:"proven"`

	// DedupWindow is for how long a message id is recognised, in seconds, by the frame enriched last; absent before the
	// first one.
	DedupWindow *float64 `json:"dedup_window_seconds,omitempty"`
	// Fill of the shard's streams in percent of their limits; absent for one without limit.
	RawFill      *float64 `json:"raw_fill_percent,omitempty"`
	EnrichedFill *float64 `json:"enriched_fill_percent,omitempty"`

	Open bool   `json:"open"`           // nothing speaks against it: the logs agree with each other
	Note string `json:"note,omitempty"` // why it is not open, or what is remarkable
}

// Range is the first and last sequence of a stream; First is Last+1 when it is empty.
type Range struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// StreamsStatus is the state of the streams that all shards share.
type StreamsStatus struct {
	In     StreamStatus `json:"in"`
	Dead   StreamStatus `json:"dead"`
	Ledger StreamStatus `json:"ledger"`
}

// StreamStatus is the state of one stream. Messages of IN wait for an ingester.
type StreamStatus struct {
	Messages uint64   `json:"messages"`
	Bytes    uint64   `json:"bytes"`
	First    uint64   `json:"first"`
	Last     uint64   `json:"last"`
	Fill     *float64 `json:"fill_percent,omitempty"` // absent when the stream has no limit
}

// Status looks at the streams and the ledger. While NATS is away the numbers are those of before.
func (s *Service) Status(ctx context.Context) (Status, error) {
	if st, ok := s.remembered(false); ok {
		return st, nil
	}
	st, err := s.statusNow(ctx)
	if err != nil {
		if st, ok := s.remembered(errors.Is(err, bus.ErrNotProvisioned)); ok { // it was found out meanwhile
			return st, nil
		}
		return Status{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := st
	kept.Shards = slices.Clone(st.Shards)
	s.told = &kept
	return s.conditions(st), nil
}

// remembered is the status while NATS is away, or the streams are gone; false when they are not, or nothing was ever seen.
func (s *Service) remembered(gone bool) (Status, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.nats.State == StateOK && !gone || len(s.seen) == 0:
		return Status{}, false
	case s.told != nil:
		st := *s.told
		st.Shards = slices.Clone(st.Shards)
		return s.conditions(st), true
	}
	st := Status{
		Installation: InstallationStatus{Prefix: s.names.Prefix, Shards: s.inst.Shards, Sinks: s.inst.Sinks, Incarnation: s.inst.Incarnation},
		At:           s.seenAt.UTC(),
	}
	for shard, v := range s.seen {
		st.Shards = append(st.Shards, ShardStatus{
			Shard: shard, Estimated: true, Raw: Range{First: 1, Last: v.raw}, Enricher: v.enriched, Proven: v.proven, Open: true,
		})
	}
	return s.conditions(st), true
}

// conditions fills in what the looks have found; mu is held.
func (s *Service) conditions(st Status) Status {
	st.NATS, st.ClickHouse, st.Door = s.nats, s.pulse.condition(), s.door.condition
	for i := range st.Shards {
		sh := &st.Shards[i]
		c := Condition{State: StateOK}
		if i < len(s.judges) && s.judges[i].condition.State != "" {
			c = s.judges[i].condition
		}
		if sh.Note != "" && c.State != StateShut {
			c = Condition{State: StateShut, Reason: bus.StuckWentBack, Why: sh.Note, Since: c.Since}
		}
		sh.State, sh.Reason, sh.Why, sh.Since = c.State, c.Reason, c.Why, c.Since
	}
	return st
}

func (s *Service) statusNow(ctx context.Context) (Status, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	inst, err := s.reopen(ctx)
	if err != nil {
		return Status{}, err
	}
	st := Status{
		Installation: InstallationStatus{Prefix: s.names.Prefix, Shards: inst.Shards, Sinks: inst.Sinks, Incarnation: inst.Incarnation},
		Shards:       make([]ShardStatus, inst.Shards), At: time.Now().UTC(),
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for shard := range inst.Shards {
		g.Go(func() (err error) {
			st.Shards[shard], err = s.shardStatus(ctx, inst, shard)
			if isMissing(err) {
				st.Shards[shard], err = ShardStatus{Shard: shard, Estimated: true, Raw: Range{First: 1}, Note: "a stream of it does not exist: " + err.Error()}, nil
			}
			return err
		})
	}
	for name, into := range map[string]*StreamStatus{
		s.names.StreamIn(): &st.Streams.In, s.names.StreamDead(): &st.Streams.Dead, s.names.StreamLedger(): &st.Streams.Ledger,
	} {
		g.Go(func() error {
			info, err := s.streamInfo(ctx, name)
			if isMissing(err) {
				return nil // which the door or the shards say
			}
			if err != nil {
				return err
			}
			*into = StreamStatus{
				Messages: info.State.Msgs, Bytes: info.State.Bytes,
				First: info.State.FirstSeq, Last: info.State.LastSeq, Fill: fill(info),
			}
			return nil
		})
	}
	return st, g.Wait()
}

func fill(info *jetstream.StreamInfo) *float64 {
	if info.Config.MaxBytes <= 0 {
		return nil
	}
	percent := 100 * float64(info.State.Bytes) / float64(info.Config.MaxBytes)
	return &percent
}

// shardStatus reads from the end of the way to its beginning, so that what moves meanwhile can only make the lag
// longer, never negative.
func (s *Service) shardStatus(ctx context.Context, inst bus.Installation, shard int) (ShardStatus, error) {
	st := ShardStatus{Shard: shard}
	rec, err := s.lastShare(ctx, inst, shard)
	if err != nil {
		return st, err
	}
	enriched, err := s.streamInfo(ctx, s.names.StreamEnriched(shard))
	if err != nil {
		return st, err
	}
	raw, err := s.streamInfo(ctx, s.names.StreamRaw(shard))
	if err != nil {
		return st, err
	}
	g, err := s.countGap(ctx, shard, rec.Proven+1, raw.State.LastSeq, enriched.State.LastSeq)
	if err != nil {
		return st, err
	}
	st.Accepted, st.Enriched = rec.Totals.In+g.events, rec.Totals.In+g.enriched
	st.Indexed, st.Dead, st.Repeats = rec.Totals.Rows, rec.Totals.Dead, rec.Totals.Repeats
	st.Lag, st.Estimated = g.events, g.estimated
	if !g.oldest.IsZero() {
		st.LagTime = max(0, time.Since(g.oldest).Seconds())
	}
	st.Raw = Range{First: max(raw.State.FirstSeq, 1), Last: raw.State.LastSeq}
	st.Enricher, st.Proven = enriched.State.LastSeq, rec.Proven
	st.RawFill, st.EnrichedFill = fill(raw), fill(enriched)

	checkpoint, err := s.lastCheckpoint(ctx, shard, enriched.State)
	if err != nil {
		return st, err
	}
	if st.Note, err = s.disagreement(ctx, inst, shard, rec, raw, enriched, checkpoint); err != nil {
		return st, err
	}
	st.Open = st.Note == ""
	if checkpoint != nil && checkpoint.Remembers > 0 {
		st.DedupWindow = &checkpoint.Remembers
	}
	return st, nil
}

// lastShare is what the newest record of a shard's sink says of the shard, empty when there is none.
func (s *Service) lastShare(ctx context.Context, inst bus.Installation, shard int) (bus.Share, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	ledger, err := s.js.Stream(ctx, s.names.StreamLedger())
	if err != nil {
		return bus.Share{}, fmt.Errorf("NATS: %w: look up stream %s: %w", ErrUnavailable, s.names.StreamLedger(), err)
	}
	rec, _, err := bus.LedgerLast(ctx, ledger, s.names, inst.SinkOf(shard))
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("NATS: %w: %w", ErrUnavailable, err)
	}
	return rec.Share(shard), err
}

// stored reads one message; ok is false when the stream does not hold it.
func (s *Service) stored(ctx context.Context, name string, seq uint64) (msg *jetstream.RawStreamMsg, ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	stream, err := s.js.Stream(ctx, name)
	if err == nil {
		msg, err = stream.GetMsg(ctx, seq)
	}
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("NATS: %w: read %s at %d: %w", ErrUnavailable, name, seq, err)
	}
	return msg, true, nil
}

// lastCheckpoint is what ENRICHED's last frame says, nil when it holds none.
func (s *Service) lastCheckpoint(ctx context.Context, shard int, state jetstream.StreamState) (*frame.Checkpoint, error) {
	if state.Msgs == 0 {
		return nil, nil
	}
	msg, ok, err := s.stored(ctx, s.names.StreamEnriched(shard), state.LastSeq)
	if err != nil || !ok {
		return nil, err
	}
	var c frame.Checkpoint
	if err := frame.Decode(msg.Header.Get(bus.HeaderCheckpoint), &c); err != nil {
		return nil, nil // disagreement names it
	}
	return &c, nil
}

// disagreement is what keeps a shard shut as far as it can be seen from here: logs that went back. It is empty for a
// shard that works.
func (s *Service) disagreement(ctx context.Context, inst bus.Installation, shard int, rec bus.Share, raw, enriched *jetstream.StreamInfo, c *frame.Checkpoint) (string, error) {
	known := rec.Known()
	switch {
	case rec.Revision != 0 && rec.Incarnation != inst.Incarnation:
		return fmt.Sprintf("the ledger is of incarnation %d, the streams of %d", rec.Incarnation, inst.Incarnation), nil
	case enriched.State.LastSeq < known:
		return fmt.Sprintf("ENRICHED ends at %d, the ledger knows frame %d", enriched.State.LastSeq, known), nil
	case raw.State.LastSeq < enriched.State.LastSeq:
		return fmt.Sprintf("RAW ends at %d, ENRICHED at %d", raw.State.LastSeq, enriched.State.LastSeq), nil
	case enriched.State.Msgs == 0:
		return "", nil
	case c == nil:
		return fmt.Sprintf("frame %d of ENRICHED has no checkpoint that can be read", enriched.State.LastSeq), nil
	}
	question, ok, err := s.stored(ctx, s.names.StreamRaw(shard), enriched.State.LastSeq)
	if err != nil || !ok {
		return "", err
	}
	if id := question.Header.Get(bus.HeaderFrame); id != c.Frame {
		return fmt.Sprintf("RAW holds frame %q at %d, ENRICHED answers %q", id, enriched.State.LastSeq, c.Frame), nil
	}
	return "", nil
}

// serveStatus is GET /v1/status.
func (s *Service) serveStatus(w http.ResponseWriter, r *http.Request) error {
	st, err := s.Status(r.Context())
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(st) // the reader is gone; there is nobody to tell
	return nil
}
