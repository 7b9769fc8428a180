package ingester

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestAShortBodyIsNotNothing: whoever announces one byte has a goroutine and its
// buffers all the same.
func TestAShortBodyIsNotNothing(t *testing.T) {
	f := newFairness(&budget{max: 1000 << 10}, 0)
	seats := 0
	for range 1000 {
		if _, err := f.enter("noisy", 1); err == nil {
			seats++
		}
	}
	if seats < 12 || seats > 32 {
		t.Errorf("%d requests of one byte are under way in 1000 KiB", seats)
	}
	if _, err := f.enter("modest", 1); err != nil {
		t.Errorf("another source: %v", err)
	}
}

// TestKeylessRequestsAreNotAllOthers: who has not shown a key yet has many
// addresses, of one network or of many.
func TestKeylessRequestsAreNotAllOthers(t *testing.T) {
	for text, want := range map[string]string{
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::", "2001:db8:1:2::1": "2001:db8:1:2::", "2001:db8:1:3::1": "2001:db8:1:3::",
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "": "", "unknown": "unknown",
	} {
		if got := clientOf(text); got != want {
			t.Errorf("%s counts as %q, want %q", text, got, want)
		}
	}
	d := &door{fair: newFairness(&budget{max: 1600 << 10}, 0)}
	enter := func(from origin) *seat {
		r, err := http.NewRequest(http.MethodPost, "/", strings.NewReader(noise(30<<10)))
		if err != nil {
			t.Fatal(err)
		}
		s, err := d.enter(r, &from, time.Now())
		if err != nil && !errors.Is(err, errFairShare) {
			t.Fatal(err)
		}
		return s
	}
	fill := func(address string) (seats []*seat) {
		for i := range 100 {
			if s := enter(origin{ip: fmt.Sprintf(address, i)}); s != nil {
				seats = append(seats, s)
			}
		}
		return seats
	}
	many := fill("2001:db8:0:%x::1") // a network each
	if len(many) != 13 {
		t.Errorf("%d keyless bodies of 30 KiB are under way, want the 13 of half of 1600 KiB", len(many))
	}
	if err := many[0].more(50 << 10); !errors.Is(err, errFairShare) {
		t.Errorf("a keyless body that grows: %v", err)
	}
	shop := enter(origin{source: "shop"})
	if shop == nil || enter(origin{source: "shop"}) == nil {
		t.Error("a source finds no room beside keyless requests")
	}
	// A key that the body has shown makes room.
	if err := many[1].become("app"); err != nil || many[1].source != "app" {
		t.Errorf("become: %v", err)
	}
	many[0].leave()
	if enter(origin{ip: "192.0.2.1"}) == nil {
		t.Error("a keyless request finds no room although there is some")
	}

	d.fair = newFairness(&budget{max: 100 << 20}, 0)
	d.fair.budget.used.Store(100<<20 - 200<<10)
	one := fill("2001:db8::%x")
	if len(one) > 7 {
		t.Errorf("%d bodies of 30 KiB of one network are under way, with 200 KiB left", len(one))
	}
	for _, s := range one {
		s.leave()
	}
	if d.fair.nobody != 0 {
		t.Errorf("%d keyless bytes are left", d.fair.nobody)
	}
}
