package users

import (
	"cmp"
	"slices"
)

// window counts events by name over the last span, exactly, although it does not keep the events: only those that leave it
// within the life of the state that it is part of.
type window struct {
	span   int64 // ms
	until  int64 // ms: the state's life ends
	counts map[string]uint64
	leaves []leaving // by ms
	over   bool      // there were more names than are told apart
}

type leaving struct {
	ms   int64
	name string
}

func newWindow(span, now int64) window {
	return window{span: span, until: now + life.Milliseconds(), counts: map[string]uint64{}}
}

// holds says whether an event is in the window at now.
func (w *window) holds(ms, now int64) bool { return ms > now-w.span }

// add counts an event at now, and says by how many bytes the window has grown, about.
func (w *window) add(ms int64, name string, now int64) (grown int64) {
	if !w.holds(ms, now) {
		return 0
	}
	before := len(w.counts)
	if !w.count(name, 1) {
		return 0
	}
	if len(w.counts) > before {
		grown = nameOverhead + int64(len(name))
	}
	n := len(w.leaves)
	w.note(ms, name)
	return grown + leaveOverhead*int64(len(w.leaves)-n)
}

// count adds to a name, if it may be told apart: who sends events chooses their names.
func (w *window) count(name string, n uint64) bool {
	if _, known := w.counts[name]; !known && len(w.counts) >= maxCounted {
		w.over = true
		return false
	}
	w.counts[name] += n
	return true
}

// What a name takes in counts beside its bytes, and a leaving event, about.
const (
	nameOverhead  = 64
	leaveOverhead = 24
)

// note remembers when an event that was counted leaves.
func (w *window) note(ms int64, name string) {
	if ms+w.span > w.until {
		return
	}
	i, _ := slices.BinarySearchFunc(w.leaves, ms, func(l leaving, ms int64) int { return cmp.Compare(l.ms, ms) })
	w.leaves = slices.Insert(w.leaves, i, leaving{ms, name})
}

// slide lets go of what is no longer in the window at now, and says by how many bytes the window has shrunk.
func (w *window) slide(now int64) (shrunk int64) {
	n := 0
	for n < len(w.leaves) && !w.holds(w.leaves[n].ms, now) {
		if name := w.leaves[n].name; w.counts[name] > 1 {
			w.counts[name]--
		} else {
			delete(w.counts, name)
			shrunk += nameOverhead + int64(len(name))
		}
		n++
	}
	w.leaves = w.leaves[n:]
	return shrunk + leaveOverhead*int64(n)
}

// sort is needed after leaves were put in anyhow.
func (w *window) sort() {
	slices.SortFunc(w.leaves, func(a, b leaving) int { return cmp.Compare(a.ms, b.ms) })
}

// size is what the window takes in memory, about.
func (w *window) size() (n int64) {
	for name := range w.counts {
		n += nameOverhead + int64(len(name))
	}
	return n + leaveOverhead*int64(len(w.leaves))
}
