package enricher

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// logFrame is a frame as the dedup state sees it.
type logFrame struct {
	seq      uint64
	received time.Time
	ids      []string
}

// model says what a window is, without any cleverness: frames in order, each
// with the time of the window's clock.
type model struct {
	length time.Duration
	frames []modelFrame
	clock  time.Duration
	latest time.Time
}

type modelFrame struct {
	logFrame
	at time.Duration
}

func (m *model) begin(f logFrame) {
	if !m.latest.IsZero() && f.received.After(m.latest) {
		m.clock += min(f.received.Sub(m.latest), time.Minute)
	}
	if f.received.After(m.latest) {
		m.latest = f.received
	}
	m.frames = append(m.frames, modelFrame{f, m.clock})
}

// seen says whether an id must be known (it is inside the window) and whether
// it may be (a mark leaves as a whole, up to a second late).
func (m *model) seen(id string, before []string) (must, may bool) {
	if slices.Contains(before, id) {
		return true, true
	}
	for _, f := range m.frames[:len(m.frames)-1] {
		for _, x := range f.ids {
			if x == id {
				must = must || m.clock-f.at <= m.length
				may = may || m.clock-f.at <= m.length+time.Second
			}
		}
	}
	return must, may
}

func randomLog(r *rand.Rand, frames, ids int) []logFrame {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var log []logFrame
	seq := uint64(r.IntN(1000) + 1)
	for range frames {
		seq++
		if r.IntN(50) == 0 {
			seq += uint64(r.IntN(5)) // a hole
		}
		switch r.IntN(40) {
		case 0:
			now = now.Add(time.Duration(r.IntN(7200)) * time.Second)
		case 1:
			now = now.Add(-time.Duration(r.IntN(5000)) * time.Millisecond) // a new leader's clock
		default:
			now = now.Add(time.Duration(r.IntN(900)) * time.Millisecond)
		}
		f := logFrame{seq: seq, received: now}
		for range r.IntN(20) {
			f.ids = append(f.ids, fmt.Sprint("id-", r.IntN(ids)))
		}
		log = append(log, f)
	}
	return log
}

func play(d *dedup, f logFrame) (repeats []bool) {
	d.begin(f.seq, f.received, len(f.ids))
	for _, id := range f.ids {
		repeats = append(repeats, d.repeat([]byte("shop"), []byte(id)))
	}
	return repeats
}

func TestDedupAgreesWithANaiveModel(t *testing.T) {
	for seed := range uint64(10) {
		r := rand.New(rand.NewPCG(seed, 1))
		length := time.Duration(5+r.IntN(60)) * time.Second
		d, m := newDedup(newDedupKey(), length, 64<<20), &model{length: length}
		for _, f := range randomLog(r, 300, 300) {
			m.begin(f)
			got := play(d, f)
			for i, id := range f.ids {
				must, may := m.seen(id, f.ids[:i])
				if must && !got[i] || got[i] && !may {
					t.Fatalf("seed %d frame %d: %s: repeat %v, must be %v, may be %v", seed, f.seq, id, got[i], must, may)
				}
			}
		}
	}
}

// contents is everything that decides the future of a state.
func contents(d *dedup) (keys map[key]bool, marks []mark) {
	keys = map[key]bool{}
	for p := d.ring.head; p != d.ring.tail; p++ {
		keys[d.ring.at(uint32(p))] = true
	}
	for _, m := range d.marks[d.oldest:] {
		m.pos -= d.ring.head
		m.last -= d.clock
		marks = append(marks, m)
	}
	return keys, marks
}

func TestDedupReadBackFromTheLogEqualsTheStateThatLived(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 2))
		length := time.Duration(5+r.IntN(60)) * time.Second
		memory := int64(64 << 20)
		if seed%2 == 1 {
			memory = 1 // the least there is: 4096 ids
		}
		secret := newDedupKey()
		lived := newDedup(secret, length, memory)
		log := randomLog(r, 1200, 5000)
		for n, f := range log {
			if memory == 1 {
				for i := range 60 {
					f.ids = append(f.ids, fmt.Sprint("more-", n, "-", i))
				}
				log[n] = f
			}
			play(lived, f)
			if n%97 != 0 {
				continue
			}
			window, before := lived.window()
			again := newDedup(secret, length, memory)
			again.resume(before)
			for _, old := range log[:n+1] {
				if old.seq >= window {
					play(again, old)
				}
			}
			wantKeys, wantMarks := contents(lived)
			gotKeys, gotMarks := contents(again)
			if !maps.Equal(gotKeys, wantKeys) || fmt.Sprint(gotMarks) != fmt.Sprint(wantMarks) {
				t.Fatalf("seed %d frame %d: %d keys, want %d\n%v\n%v", seed, f.seq, len(gotKeys), len(wantKeys), gotMarks, wantMarks)
			}
			if again.table.used != lived.table.used || again.latest != lived.latest {
				t.Fatalf("seed %d frame %d: table %d, want %d", seed, f.seq, again.table.used, lived.table.used)
			}
		}
	}
}

func TestDedupShortensTheWindowAtFramesWhenMemoryIsFull(t *testing.T) {
	d := newDedup(newDedupKey(), time.Hour, 1)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	id := func(frame, i int) string { return fmt.Sprint(frame, "-", i) }
	const frames, perFrame = 200, 100
	for n := range frames {
		f := logFrame{seq: uint64(n + 1), received: now.Add(time.Duration(n) * time.Second)}
		for i := range perFrame {
			f.ids = append(f.ids, id(n, i))
		}
		for i, repeat := range play(d, f) {
			if repeat {
				t.Fatalf("frame %d event %d is new", n, i)
			}
		}
		if d.ring.len() > d.most {
			t.Fatalf("%d ids, the memory holds %d", d.ring.len(), d.most)
		}
	}
	first, _ := d.window()
	inside := frames - int(first) + 1
	if inside < d.most/perFrame-1 || inside > d.most/perFrame+1 {
		t.Errorf("%d frames are inside, %d fit", inside, d.most/perFrame)
	}
	if got, want := d.effective(), time.Duration(inside-1)*time.Second; got < want-time.Second || got > want+time.Second {
		t.Errorf("effective window %s, want %s", got, want)
	}
	d.begin(frames+1, now.Add(frames*time.Second), 2)
	if !d.repeat([]byte("shop"), []byte(id(int(first), 0))) {
		t.Error("an id inside the window was forgotten")
	}
	if d.repeat([]byte("shop"), []byte(id(0, 0))) {
		t.Error("an id outside the window was remembered")
	}
}

func TestDedupHoldsAnHourOfTwoThousandEventsASecondIn256MB(t *testing.T) {
	// One of four shards; the others are alike.
	const share, ids = 256_000_000 / 4, 3600 * 2000 / 4
	d := newDedup(newDedupKey(), time.Hour, share)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var id [8]byte
	for n := range ids * 5 / 4 {
		if n%5 == 0 { // a frame of 5 events, a hundred a second
			d.begin(uint64(n/5+1), now.Add(time.Duration(n/5)*10*time.Millisecond), 5)
		}
		for i := range id {
			id[i] = byte(n >> (8 * i))
		}
		if d.repeat([]byte("shop"), id[:]) {
			t.Fatalf("id %d is new", n)
		}
	}
	if d.bytes() > share {
		t.Errorf("%d bytes, the share is %d", d.bytes(), share)
	}
	if got := d.effective(); got != time.Hour {
		t.Errorf("the window is %s", got)
	}
	if n := d.ids(); n < ids || n > ids+ids/1000 {
		t.Errorf("%d ids, want %d", n, ids)
	}
}

func TestRingAndTableSurviveTheWrapOfPositions(t *testing.T) {
	d := newDedup(newDedupKey(), 10*time.Second, 1<<20)
	d.ring.head, d.ring.tail = 1<<32-10_000, 1<<32-10_000
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for n := range 3000 {
		f := logFrame{seq: uint64(n + 1), received: now.Add(time.Duration(n) * 100 * time.Millisecond)}
		for i := range 10 {
			f.ids = append(f.ids, fmt.Sprint(n, "-", i))
		}
		if n > 50 {
			f.ids = append(f.ids, fmt.Sprint(n-50, "-", 3))
		}
		got := play(d, f)
		for i, repeat := range got {
			if repeat != (i == 10) {
				t.Fatalf("frame %d event %d: repeat %v", n, i, repeat)
			}
		}
	}
	if d.ring.tail <= 1<<32 {
		t.Fatal("the positions did not wrap")
	}
}

func BenchmarkDedup(b *testing.B) {
	d := newDedup(newDedupKey(), time.Hour, 64<<20)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	id := []byte("ajs-next-1772357460000-00000000")
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if n%100 == 0 {
			d.begin(uint64(n), now.Add(time.Duration(n)*100*time.Microsecond), 100)
		}
		for i := range 8 {
			id[len(id)-1-i] = 'a' + byte(n>>(4*i))&15
		}
		d.repeat([]byte("shop"), id)
	}
}
