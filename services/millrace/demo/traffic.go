package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/millrace/millrace/services/millrace/client"
)

// Door takes events; *client.Client is one.
type Door interface {
	Post(ctx context.Context, b client.Body) (client.Answer, error)
}

// Config of the traffic. Door and Log are required.
type Config struct {
	Door Door
	Log  *slog.Logger
	Rate float64 // events a second
	Seed uint64
}

// Rates that make sense for a demonstration: a sign of life a minute, and what
// one connection can carry.
const (
	MinRate = 0.01
	MaxRate = 20_000
)

// ErrRate says that the rate is out of bounds.
var ErrRate = fmt.Errorf("demo rate: want %g to %d events a second", MinRate, MaxRate)

// ValidRate says whether a shop can have so many events a second; NaN is none.
func ValidRate(rate float64) bool { return rate >= MinRate && rate <= MaxRate }

// Traffic sends what happens in a Shop.
type Traffic struct {
	cfg  Config
	shop *Shop
}

// New returns traffic that starts with Run.
func New(cfg Config) (*Traffic, error) {
	if cfg.Door == nil || cfg.Log == nil {
		return nil, errors.New("demo: Door and Log are required")
	}
	if !ValidRate(cfg.Rate) {
		return nil, fmt.Errorf("%w, not %g", ErrRate, cfg.Rate)
	}
	return &Traffic{cfg: cfg, shop: NewShop(cfg.Seed, fmt.Sprintf("%x", time.Now().UnixMilli()))}, nil
}

// tick is how often events are sent, as many as have come due since. Some
// events travel together, as with real libraries.
const tick = 200 * time.Millisecond

// Run sends until ctx is done. A door that is closed for a while costs the
// events of that time, not the traffic: this is a demonstration.
func (t *Traffic) Run(ctx context.Context) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	due := 0.0
	last := time.Now()
	troubled := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		now := time.Now()
		due += now.Sub(last).Seconds() * t.cfg.Rate
		last = now
		n := int(due)
		due -= float64(n)
		// After a pause only the present counts.
		n = min(n, int(t.cfg.Rate)+1)
		if n == 0 {
			continue
		}
		_, err := t.cfg.Door.Post(ctx, client.Body{Type: "application/x-ndjson", Data: t.body(n, now)})
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !troubled:
			t.cfg.Log.Warn("demo traffic is not taken", "err", err)
		case err == nil && troubled:
			t.cfg.Log.Info("demo traffic is taken again")
		}
		troubled = err != nil
	}
}

func (t *Traffic) body(n int, now time.Time) []byte {
	var b bytes.Buffer
	for i := range n {
		b.Write(t.shop.Next(now.Add(time.Duration(i) * tick / time.Duration(n))))
		b.WriteByte('\n')
	}
	return b.Bytes()
}
