package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// latencyResult is one steady run of single events.
type latencyResult struct {
	Rate     int     `json:"events_per_s"`
	Seconds  float64 `json:"seconds"`
	DoorP50  float64 `json:"door_p50_ms"` // request sent to 200
	DoorP99  float64 `json:"door_p99_ms"`
	RowP50   float64 `json:"row_p50_ms"` // 200 to the row in an answer of POST /v1/sql
	RowP99   float64 `json:"row_p99_ms"`
	Samples  int     `json:"row_samples"`
	CPU      float64 `json:"cpu_s_per_million"`
	Achieved float64 `json:"achieved_events_per_s"`
}

// latency sends single events at a steady rate, open loop: an event's clock
// starts when it was due, so a slow answer cannot hide behind a late send.
func latency(ctx context.Context, bin string, rate int, length time.Duration, run string) (latencyResult, error) {
	events := int(length.Seconds() * float64(rate))
	bodies := newGenerator(run, 2).bodies(events, 1)
	s, err := start(ctx, bin)
	if err != nil {
		return latencyResult{}, err
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256, MaxConnsPerHost: 256}}
	var mu sync.Mutex
	var door, row []time.Duration
	var failed error
	var wg sync.WaitGroup
	before, began := s.usage(), time.Now()
	for i, body := range bodies {
		due := began.Add(time.Duration(i) * time.Second / time.Duration(rate))
		time.Sleep(time.Until(due))
		wg.Go(func() {
			var a answer
			err := s.post(ctx, client, body, &a)
			took := time.Since(due)
			var visible time.Duration
			sampled := err == nil && i%(rate/20) == 0 // 20 a second
			if sampled {
				acknowledged := time.Now()
				_, err = s.sql(ctx, "SELECT 1", a.Receipt)
				visible = time.Since(acknowledged)
			}
			mu.Lock()
			defer mu.Unlock()
			door = append(door, took)
			if sampled {
				row = append(row, visible)
			}
			if err != nil && failed == nil {
				failed = err
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	if failed != nil {
		return latencyResult{}, fmt.Errorf("latency: %w", failed)
	}
	if _, err := s.arrived(ctx, events); err != nil {
		return latencyResult{}, fmt.Errorf("latency: %w", err)
	}
	after := s.usage()
	if err := s.exact(ctx, events); err != nil {
		return latencyResult{}, fmt.Errorf("latency: %w", err)
	}
	return latencyResult{
		Rate: rate, Seconds: length.Seconds(), DoorP50: quantile(door, 0.5), DoorP99: quantile(door, 0.99),
		RowP50: quantile(row, 0.5), RowP99: quantile(row, 0.99), Samples: len(row),
		CPU:      (after.Up + after.ClickHouse - before.Up - before.ClickHouse) / float64(events) * 1e6,
		Achieved: float64(events) / took.Seconds(),
	}, s.stop()
}

func quantile(d []time.Duration, q float64) float64 {
	slices.Sort(d)
	return float64(d[min(len(d)-1, int(float64(len(d))*q))].Microseconds()) / 1000
}
