package enricher

import (
	"crypto/rand"
	"encoding/binary"
	"time"

	"github.com/dchest/siphash"
)

const (
	// maxGap is the most that two neighbours of the log may move the window's
	// clock: else an outage of an hour would expire exactly the ids that
	// senders repeat after it.
	maxGap = time.Minute
	// A mark is a run of frames that leave the window together. It ends when a
	// second of the log's time is over or it holds this many ids.
	markIDs   = chunkKeys
	markBytes = 48 // of memory, see [mark]
)

// dedupKey is the secret under which ids are hashed, one a process, so that no
// client can make ids that collide.
type dedupKey struct{ k0, k1 uint64 }

func newDedupKey() dedupKey {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, see its documentation
	return dedupKey{binary.LittleEndian.Uint64(b[:8]), binary.LittleEndian.Uint64(b[8:])}
}

// mark is where a run of frames begins.
type mark struct {
	seq    uint64 // its first frame in RAW
	pos    uint64 // its first id in the ring
	before int64  // running maximum of RAW's time before it, unix ms
	last   int64  // the window's clock at its last frame, ms
	second int64  // of the running maximum at its first frame
}

// dedup recognises repeats: a key that occurs in any frame of the window,
// counted or not. An occurrence keeps its key for a window more.
//
// What is in the window is a function of RAW alone: of the sequence from which
// it starts ([dedup.window]), the running maximum of RAW's timestamps there,
// and the memory limit. So a new owner that reads RAW back from there has the
// state that the old one had. It is owned by one goroutine.
type dedup struct {
	secret  dedupKey
	length  int64 // of the window, ms
	most    int   // ids that fit the memory
	ring    ring
	table   table
	marks   []mark // [oldest:] are in the window
	oldest  int
	clock   int64 // of the window, ms since the first frame seen
	latest  int64 // running maximum of RAW's timestamps, unix ms
	started bool
	short   bool // the last to leave left for want of memory
	scratch []byte
}

// newDedup returns an empty state that remembers ids for length and takes at
// most memory bytes, whichever ends first.
func newDedup(secret dedupKey, length time.Duration, memory int64) *dedup {
	const fixed = 2 * chunkKeys * keyBytes
	perID := int64(keyBytes + slotBytes*loadDen/loadNum + 1)
	marks := 2 * int64(length/time.Second+1) * markBytes
	most := max((memory-fixed-marks)/perID, markIDs)
	return &dedup{secret: secret, length: length.Milliseconds(), most: int(min(most, 1<<30))}
}

// resume sets the running maximum before the first frame that is read back;
// the zero time when there is none.
func (d *dedup) resume(before time.Time) {
	if !before.IsZero() {
		d.started, d.latest = true, before.UnixMilli()
		d.short = true // until the time, not the memory, has ended the window
	}
}

// begin moves the window to a frame of RAW that holds up to events ids.
func (d *dedup) begin(seq uint64, received time.Time, events int) {
	now, before := received.UnixMilli(), d.latest
	switch {
	case !d.started:
		d.started, d.latest = true, now
	case now > d.latest:
		d.clock += min(now-d.latest, maxGap.Milliseconds())
		d.latest = now
	}
	for d.inside() > 0 && d.clock-d.marks[d.oldest].last > d.length {
		d.leave()
		d.short = false
	}
	if second := d.latest / 1000; d.inside() == 0 || d.current().second != second || d.ring.tail-d.current().pos >= markIDs {
		d.marks = append(d.marks, mark{seq: seq, pos: d.ring.tail, before: before, second: second})
	}
	for d.inside() > 1 && d.ring.len()+events > d.most {
		d.leave()
		d.short = true
	}
	d.current().last = d.clock
}

func (d *dedup) inside() int    { return len(d.marks) - d.oldest }
func (d *dedup) current() *mark { return &d.marks[len(d.marks)-1] }

// leave lets the oldest frames out of the window.
func (d *dedup) leave() {
	end := d.ring.tail
	if d.inside() > 1 {
		end = d.marks[d.oldest+1].pos
	}
	for d.ring.head != end {
		d.table.drop(d.ring.pop())
	}
	if d.oldest++; d.oldest >= 1024 && d.oldest*2 >= len(d.marks) {
		d.marks = d.marks[:copy(d.marks, d.marks[d.oldest:])]
		d.oldest = 0
	}
}

// repeat says whether (source, id) occurred in the window, and remembers it.
func (d *dedup) repeat(source, id []byte) bool {
	// A source is a subject's token and has no NUL.
	d.scratch = append(append(append(d.scratch[:0], source...), 0), id...)
	hi, lo := siphash.Hash128(d.secret.k0, d.secret.k1, d.scratch)
	k := key{hi, lo}
	d.table.reserve(&d.ring, d.most)
	return d.table.put(&d.ring, k, d.ring.push(k))
}

// window is the first sequence inside and the running maximum of RAW's time
// before it: all that is needed to build this state again.
func (d *dedup) window() (seq uint64, before time.Time) {
	if d.inside() == 0 {
		return 0, time.Time{}
	}
	m := d.marks[d.oldest]
	if m.before == 0 {
		return m.seq, time.Time{}
	}
	return m.seq, time.UnixMilli(m.before).UTC()
}

// effective is for how long an id is remembered at present: the configured
// time unless the memory ends it earlier.
func (d *dedup) effective() time.Duration {
	length := d.length
	if d.short && d.inside() > 0 {
		length = min(length, d.clock-d.marks[d.oldest].last)
	}
	return time.Duration(length) * time.Millisecond
}

func (d *dedup) ids() int { return d.table.used }

// bytes is what the state takes.
func (d *dedup) bytes() int64 {
	chunks := 0
	for _, c := range d.ring.chunks {
		if c != nil {
			chunks++
		}
	}
	return int64(chunks)*chunkKeys*keyBytes + int64(cap(d.table.slots))*slotBytes + int64(cap(d.marks))*markBytes
}
