package query

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/services/query/problem"
)

// await returns when the rows of the receipt are proven to be in ClickHouse. Else it returns a problem that says how
// far each shard is, or that nobody can say because NATS is away.
func (s *Service) await(ctx context.Context, text string, patience time.Duration) error {
	if text == "" {
		return nil
	}
	began := time.Now()
	s.metrics.waiting.Inc()
	defer func() {
		s.metrics.waiting.Dec()
		s.metrics.waits.Observe(time.Since(began).Seconds())
	}()
	inst, err := s.installation(ctx)
	if err != nil {
		return err
	}
	receipt, err := bus.ParseReceipt(text, inst.Shards)
	if err != nil {
		return fmt.Errorf("%w: after: %w", ErrReceipt, err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if receipt.In > 0 {
		if err := s.awaitIn(ctx, &receipt, inst, patience); err != nil {
			return err
		}
	}
	for _, p := range receipt.Places {
		if err := s.awaitPlace(ctx, p); err != nil {
			return s.notYet(receipt, patience, nil)
		}
	}
	return nil
}

func (s *Service) awaitPlace(ctx context.Context, p bus.Place) error {
	for {
		have, changed := s.ledger.proven(p.Shard)
		if have >= p.Seq {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.stopping:
			return ErrUnavailable
		}
	}
}

// awaitIn waits until everything in the IN stream up to the receipt's place is in RAW, and then makes the receipt name
// the last frame of every shard: those of the message are among them.
func (s *Service) awaitIn(ctx context.Context, receipt *bus.Receipt, inst bus.Installation, patience time.Duration) error {
	delay := 2 * time.Millisecond
	have := problem.InWait{Want: receipt.In}
	for {
		taken, err := s.takenIn(ctx)
		switch {
		case err == nil:
			have.Have = taken
		case ctx.Err() == nil && !errors.Is(err, context.DeadlineExceeded):
			return fmt.Errorf("NATS: %w: %w", ErrUnavailable, err)
		}
		if have.Have >= receipt.In {
			break
		}
		select {
		case <-ctx.Done():
			return s.notYet(*receipt, patience, &have)
		case <-s.stopping:
			return fmt.Errorf("%w: the service is stopping", ErrUnavailable)
		case <-time.After(delay):
		}
		delay = min(2*delay, 250*time.Millisecond)
	}
	for shard := range inst.Shards {
		info, err := s.streamInfo(ctx, s.names.StreamRaw(shard))
		if err != nil {
			return err
		}
		if info.State.LastSeq > 0 {
			receipt.Add(bus.Place{Shard: shard, Seq: info.State.LastSeq})
		}
	}
	return nil
}

// takenIn is the place in IN up to which ingesters have acknowledged every message, which they do once RAW has it.
func (s *Service) takenIn(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, taken, err := s.tail.In(ctx)
	return taken, err
}

// notYet says how far it is. While the ledger cannot be followed that is not known, and asking again later is the
// better advice.
func (s *Service) notYet(receipt bus.Receipt, patience time.Duration, in *problem.InWait) error {
	select {
	case <-s.stopping:
		return fmt.Errorf("%w: the service is stopping", ErrUnavailable)
	default:
	}
	if err := s.followed(); err != nil {
		return err
	}
	p := problem.New(http.StatusGatewayTimeout, problem.NotYet, fmt.Sprintf("%v after %s", ErrNotYet, patience))
	p.In = in
	for _, place := range receipt.Places {
		have, _ := s.ledger.proven(place.Shard)
		p.Shards = append(p.Shards, problem.Waiting{Shard: place.Shard, Want: place.Seq, Have: have})
	}
	return p
}

// streamInfo asks for a stream's state, with an end even while NATS is away.
func (s *Service) streamInfo(ctx context.Context, name string) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	stream, err := s.js.Stream(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("NATS: %w: look up stream %s: %w", ErrUnavailable, name, err)
	}
	return stream.CachedInfo(), nil
}
