package demo

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/libs/event"
	"github.com/millrace/millrace/services/millrace/client"
)

var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func TestSameSeedSameShop(t *testing.T) {
	a, b, c := NewShop(7, "run"), NewShop(7, "run"), NewShop(8, "run")
	different := false
	for i := range 2_000 {
		x, y, z := a.Next(now), b.Next(now), c.Next(now)
		if !bytes.Equal(x, y) {
			t.Fatalf("event %d: %s and %s", i, x, y)
		}
		different = different || !bytes.Equal(x, z)
	}
	if !different {
		t.Error("another seed makes the same shop")
	}
}

func TestTheShopIsBelievable(t *testing.T) {
	shop := NewShop(1, "run")
	scanner, ev := event.NewScanner(event.DefaultLimits()), event.Event{}
	names, reasons, ids := map[string]int{}, map[event.Reason]int{}, map[string]bool{}
	sources, users := map[string]bool{}, map[string]bool{}
	revenue, pages := 0.0, 0
	const n = 10_000
	for range n {
		raw := shop.Next(now)
		if r := scanner.Scan(raw, &ev); r != nil {
			reasons[r.Reason]++
			continue
		}
		ids[string(ev.MessageID)] = true
		names[string(ev.Type)+" "+string(ev.Name)]++
		sources[string(ev.Campaign.Source)] = true
		users[string(ev.User())] = true
		for _, f := range ev.Properties {
			if string(ev.Type) == "page" && string(f.Key) == "section" && string(f.Value) == "product" {
				pages++
			}
			if string(f.Key) == "revenue" {
				revenue += f.Num
			}
		}
	}
	refused := 0
	for _, c := range reasons {
		refused += c
	}
	if refused < n/broken/2 || refused > n/broken*2 {
		t.Errorf("%d of %d events are refused: %v", refused, n, reasons)
	}
	for _, r := range []event.Reason{event.ReasonNoUser, event.ReasonBadTimestamp, event.ReasonBadType, event.ReasonDuplicateKey} {
		if reasons[r] == 0 {
			t.Errorf("no event is refused as %s: %v", r, reasons)
		}
	}
	if len(ids)+refused != n {
		t.Errorf("%d distinct ids and %d refused of %d events", len(ids), refused, n)
	}
	for _, name := range []string{
		"page Mill Shop", "page Cart", "track Product Viewed", "track Product Added",
		"track Checkout Started", "track Order Completed", "track Products Searched", "identify ",
	} {
		if names[name] == 0 {
			t.Errorf("nobody does %q: %v", name, names)
		}
	}
	// Each product page has its view, but for those that have come up last.
	if views := names["track Product Viewed"]; views > pages || views < pages-visitors {
		t.Errorf("%d product pages and %d views", pages, views)
	}
	if names["track Product Added"] >= names["track Product Viewed"] {
		t.Errorf("more things are put into carts than are looked at: %v", names)
	}
	if names["track Order Completed"] >= names["track Product Added"] {
		t.Errorf("more orders than things put into carts: %v", names)
	}
	if len(sources) < 4 || len(users) < 500 || revenue < 1_000 {
		t.Errorf("%d campaigns, %d users, revenue %g", len(sources), len(users), revenue)
	}
}

// counting takes events and can be closed for a while.
type counting struct {
	events atomic.Int64
	closed atomic.Bool
}

func (c *counting) Post(_ context.Context, b client.Body) (client.Answer, error) {
	if c.closed.Load() {
		return client.Answer{}, errors.New("closed")
	}
	c.events.Add(int64(bytes.Count(b.Data, []byte("\n"))))
	return client.Answer{}, nil
}

func TestRate(t *testing.T) {
	for _, rate := range []float64{0.5, 3, 50, 300} {
		synctest.Test(t, func(t *testing.T) {
			door := &counting{}
			traffic, err := New(Config{Door: door, Log: slog.New(slog.DiscardHandler), Rate: rate, Seed: 1})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second+time.Millisecond)
			defer cancel()
			if err := traffic.Run(ctx); err != nil {
				t.Fatal(err)
			}
			if got, want := float64(door.events.Load()), rate*20; got < want-1 || got > want+1 {
				t.Errorf("rate %g: %g events in 20 s, want %g", rate, got, want)
			}
		})
	}
}

func TestAClosedDoorIsNoFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		door := &counting{}
		door.closed.Store(true)
		traffic, err := New(Config{Door: door, Log: slog.New(slog.DiscardHandler), Rate: 100, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Minute, func() { door.closed.Store(false) })
		ctx, cancel := context.WithTimeout(t.Context(), 70*time.Second+time.Millisecond)
		defer cancel()
		if err := traffic.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if got := door.events.Load(); got < 900 || got > 1_100 {
			t.Errorf("%d events in the ten seconds after the door opened, want about 1000", got)
		}
	})
}

func TestRateIsChecked(t *testing.T) {
	for _, rate := range []float64{0, -1, 20_001} {
		if _, err := New(Config{Door: &counting{}, Log: slog.New(slog.DiscardHandler), Rate: rate}); !errors.Is(err, ErrRate) {
			t.Errorf("rate %g: error %v", rate, err)
		}
	}
}
