package main

import (
	"encoding/json"
	"testing"
)

func TestGeneratedEvents(t *testing.T) {
	for _, size := range []int{300, usualSize, 5_000, 30_000} {
		g := newGenerator("mib3w2z1", 1, size)
		g.n = 500_000
		ids, who, total := map[string]bool{}, map[string]bool{}, 0
		const n = 2_000
		for range n {
			text := g.append(nil)
			var e struct {
				MessageID string `json:"messageId"`
				Context   struct{ UserAgent string }
			}
			if err := json.Unmarshal(text, &e); err != nil {
				t.Fatalf("%v: %s", err, text)
			}
			ids[e.MessageID], who[e.Context.UserAgent] = true, true
			total += len(text)
		}
		t.Logf("events of %d bytes have a mean of %.1f", size, float64(total)/n)
		if mean := float64(total) / n; mean < 0.97*float64(size) || mean > 1.03*float64(size) {
			t.Errorf("events of %d bytes have a mean of %.1f", size, mean)
		}
		if len(ids) != n {
			t.Errorf("%d of %d ids are distinct", len(ids), n)
		}
		if size >= usualSize && len(who) < 100 {
			t.Errorf("only %d user agents", len(who))
		}
	}
}

func TestTheSameRunIsTheSameEvents(t *testing.T) {
	a, b := newGenerator("t", 1, usualSize).load(1_000, 100), newGenerator("t", 1, usualSize).load(1_000, 100)
	if len(a.bodies) != 10 {
		t.Fatalf("%d bodies of 100 events, want 10", len(a.bodies))
	}
	for i := range a.bodies {
		var events []json.RawMessage
		if err := json.Unmarshal(a.bodies[i], &events); err != nil || len(events) != 100 {
			t.Fatalf("body %d: %d events, %v", i, len(events), err)
		}
		if string(a.bodies[i]) != string(b.bodies[i]) {
			t.Fatalf("body %d differs", i)
		}
	}
}

func BenchmarkGenerate(b *testing.B) {
	g := newGenerator("b", 1, usualSize)
	var text []byte
	for b.Loop() {
		text = g.append(text[:0])
	}
}
