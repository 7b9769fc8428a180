package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// wayResult is one run of the whole way.
type wayResult struct {
	Name         string  `json:"name"`
	Events       int     `json:"events"`
	Seconds      float64 `json:"seconds"`      // first byte sent to last row visible
	PerSecond    float64 `json:"events_per_s"` //
	UpCPU        float64 `json:"up_cpu_s_per_million"`
	ClickHouse   float64 `json:"clickhouse_cpu_s_per_million"`
	PerCoreSec   float64 `json:"events_per_core_second"`
	UpRSS        float64 `json:"up_rss_mb"`
	ClickHouseMB float64 `json:"clickhouse_rss_mb"`
}

type sender func(ctx context.Context, s *system, bodies [][]byte) error

// way measures events through a door until they are rows.
func way(ctx context.Context, bin, name string, events, batch int, send sender, run string) (wayResult, error) {
	bodies := newGenerator(run, 1).bodies(events, batch)
	s, err := start(ctx, bin)
	if err != nil {
		return wayResult{}, err
	}
	before, began := s.usage(), time.Now()
	if err := send(ctx, s, bodies); err != nil {
		return wayResult{}, fmt.Errorf("%s: %w", name, err)
	}
	at, err := s.arrived(ctx, events)
	if err != nil {
		return wayResult{}, fmt.Errorf("%s: %w", name, err)
	}
	peak := s.usage()
	// Merges that these rows caused belong to their price.
	s.quiet(ctx)
	after := s.usage()
	if err := s.exact(ctx, events); err != nil {
		return wayResult{}, fmt.Errorf("%s: %w", name, err)
	}
	millions := float64(events) / 1e6
	seconds := at.Sub(began).Seconds()
	r := wayResult{
		Name: name, Events: events, Seconds: seconds, PerSecond: float64(events) / seconds,
		UpCPU: (after.Up - before.Up) / millions, ClickHouse: (after.ClickHouse - before.ClickHouse) / millions,
		UpRSS: peak.UpMB, ClickHouseMB: peak.ClickMB,
	}
	r.PerCoreSec = 1e6 / (r.UpCPU + r.ClickHouse)
	return r, s.stop()
}

// quiet waits until no merge runs.
func (s *system) quiet(ctx context.Context) {
	last := s.usage().ClickHouse
	for range 60 {
		select {
		case <-ctx.Done():
			return
		case <-time.After(500 * time.Millisecond):
		}
		now := s.usage().ClickHouse
		if now-last < 0.1 {
			return
		}
		last = now
	}
}

// overHTTP posts the bodies with a few connections, as a fleet of SDKs does.
func overHTTP(connections int) sender {
	return func(ctx context.Context, s *system, bodies [][]byte) error {
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}}
		var next atomic.Int64
		var wg sync.WaitGroup
		errs := make(chan error, connections)
		for range connections {
			wg.Go(func() {
				for {
					i := int(next.Add(1)) - 1
					if i >= len(bodies) {
						return
					}
					if err := s.post(ctx, client, bodies[i], nil); err != nil {
						errs <- err
						return
					}
				}
			})
		}
		wg.Wait()
		close(errs)
		return <-errs
	}
}

type answer struct {
	Accepted int               `json:"accepted"`
	Rejected []json.RawMessage `json:"rejected"`
	Receipt  string            `json:"receipt"`
}

// post sends one request and waits out a full system, as an SDK does.
func (s *system) post(ctx context.Context, client *http.Client, body []byte, a *answer) error {
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.Addrs.Ingest+"/v1/events", bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("X-Write-Key", s.Addrs.Key)
		req.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close() // all of it has been read
		switch {
		case err != nil:
			return err
		case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable:
			time.Sleep(time.Second)
		case resp.StatusCode != http.StatusOK:
			return fmt.Errorf("%s: %s", resp.Status, text)
		default:
			if a == nil {
				return nil
			}
			return json.Unmarshal(text, a)
		}
	}
}

// overNATS publishes the bodies asynchronously to the NATS door.
func overNATS(ctx context.Context, s *system, bodies [][]byte) error {
	nc, err := nats.Connect(s.Addrs.NATS)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(256))
	if err != nil {
		return err
	}
	subject := "millrace.in." + s.Addrs.Source
	type sent struct {
		body   []byte
		future jetstream.PubAckFuture
	}
	flying := make([]sent, 0, 256)
	oldest := func() error {
		first := flying[0]
		flying = flying[:copy(flying, flying[1:])]
		select {
		case <-first.future.Ok():
			return nil
		case refused := <-first.future.Err():
			// Most likely the door's stream is full: a publisher's
			// backpressure. It tries until it is taken.
			fmt.Fprintln(os.Stderr, "published again:", refused)
			for {
				if _, err := js.Publish(ctx, subject, first.body); err == nil || ctx.Err() != nil {
					return ctx.Err()
				}
				time.Sleep(20 * time.Millisecond)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for _, body := range bodies {
		f, err := js.PublishAsync(subject, body, jetstream.WithStallWait(time.Minute))
		if err != nil {
			return err
		}
		if flying = append(flying, sent{body, f}); len(flying) == cap(flying) {
			if err := oldest(); err != nil {
				return err
			}
		}
	}
	for len(flying) > 0 {
		if err := oldest(); err != nil {
			return err
		}
	}
	return nil
}
