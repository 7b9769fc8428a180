//go:build !race

package frame

import (
	"math/rand/v2"
	"testing"
)

// TestAllocations guards the hot path: with its buffers grown, none of these
// allocates, for a frame of a hundred events. Packing may: its encoder keeps
// tables in a pool that the garbage collector empties. scripts/test runs it
// without the race detector, under which allocations are others.
func TestAllocations(t *testing.T) {
	check := func(what string, most float64, f func()) {
		t.Helper()
		for range 3 {
			f() // buffers grow
		}
		if n := testing.AllocsPerRun(50, f); n > most {
			t.Errorf("%s takes %v allocations, want at most %v", what, n, most)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	bodies := make([][]byte, perFrame)
	for i := range bodies {
		bodies[i] = shopBody(r)
	}
	raw := NewBlock(RawSchema)
	var native, packed, back []byte
	check("building a RAW frame", 0, func() {
		raw.Reset()
		for _, body := range bodies {
			fillRaw(raw, body)
		}
		native = raw.AppendNative(native[:0])
	})
	check("packing it", 1, func() { packed = Pack(packed, native) })
	check("unpacking it", 0, func() {
		var err error
		if back, err = Unpack(back, packed); err != nil {
			t.Fatal(err)
		}
	})
	view := NewView(RawSchema)
	check("reading it", 0, func() {
		if err := view.Parse(native); err != nil {
			t.Fatal(err)
		}
	})
	rows := sample(perFrame, 0).AppendNative(nil)
	block, joiner := NewBlock(RowSchema), NewJoiner(RowSchema)
	check("joining ten ENRICHED frames", 0, func() {
		block.Reset()
		for range 10 {
			if _, err := joiner.Append(block, rows); err != nil {
				t.Fatal(err)
			}
		}
	})
}
