//go:build !race

package event

import "testing"

// TestAllocationsOfABatch guards the hot path: finding the events of a request
// and reading each allocates nothing, however many there are. scripts/test runs
// it without the race detector, under which allocations are others.
func TestAllocationsOfABatch(t *testing.T) {
	body := []byte{'['}
	for i := range 100 {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, benchEvent...)
	}
	body = append(body, ']')
	splitter, scanner, e := NewSplitter(DefaultLimits()), NewScanner(DefaultLimits()), new(Event)
	n := testing.AllocsPerRun(50, func() {
		_, err := splitter.Split(body, false, func(_ int, raw []byte, refused *Refusal) error {
			if refused != nil {
				t.Fatal(refused)
			}
			if r := scanner.Scan(raw, e); r != nil {
				t.Fatal(r)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	if n > 0 {
		t.Errorf("100 events take %v allocations, want none", n)
	}
}

// TestAllocationsOfACursor guards what a door does with every batch before its
// events are scanned.
func TestAllocationsOfACursor(t *testing.T) {
	body := []byte(`{"sentAt":"2026-03-01T09:31:00Z","batch":[`)
	for range 100 {
		body = append(AppendComma(body), benchEvent...)
	}
	body = append(body, "]}"...)
	var c Cursor
	n := testing.AllocsPerRun(50, func() {
		types := 0
		c.Reset(body)
		for c.Enter(); c.Next(); {
			if string(c.Key()) != "batch" {
				continue
			}
			for c.Enter(); c.Next(); {
				for c.Enter(); c.Next(); {
					if text, _ := Unquote(c.Value()); string(c.Key()) == "type" && string(text) == "track" {
						types++
					}
				}
			}
		}
		if err := c.End(); err != nil || types != 100 {
			t.Fatal(types, err)
		}
	})
	if n > 0 {
		t.Errorf("100 events take %v allocations, want none", n)
	}
}
