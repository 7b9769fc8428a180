package indexer

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/localdb"
	"github.com/millrace/millrace/libs/testkit"
)

func TestStreamsAreTrimmedButNeverPastProof(t *testing.T) {
	r := newRig(t, 1)
	r.start(r.indexer(func(c *Config) { c.Keep, c.TrimEvery = time.Nanosecond, 50*time.Millisecond }))
	var last uint64
	for range 50 {
		last = r.feed(0, 5, plain)
	}
	r.settled(0, last)
	for _, stream := range []string{r.inst.Names.StreamRaw(0), r.inst.Names.StreamEnriched(0)} {
		testkit.Eventually(t, stream+" is trimmed", func() bool {
			s, err := r.js.Stream(t.Context(), stream)
			if err != nil {
				t.Fatal(err)
			}
			return s.CachedInfo().State.FirstSeq > 1
		})
	}
	s, err := r.js.Stream(t.Context(), r.inst.Names.StreamEnriched(0))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.GetMsg(t.Context(), last); err != nil {
		t.Errorf("the frame with the newest checkpoint is gone: %v", err)
	}
	r.settled(0, r.feed(0, 5, plain))
	r.exact(0, 0)
}

// Letters were late when the last frame was written. The door is shut because
// RAW is full, so no further frame says that they are out.
func TestAFullStreamIsTrimmedWhenLateLettersAreOut(t *testing.T) {
	r := newRig(t, 1)
	r.deadOut = new(uint64)
	*r.deadOut = 1
	r.start(r.indexer(func(c *Config) { c.Keep, c.TrimEvery = time.Nanosecond, 50*time.Millisecond }))
	var last uint64
	for range 20 {
		last = r.feed(0, 5, plain)
	}
	r.settled(0, last)
	first := func() uint64 {
		s, err := r.js.Stream(t.Context(), r.inst.Names.StreamRaw(0))
		if err != nil {
			t.Fatal(err)
		}
		return s.CachedInfo().State.FirstSeq
	}
	time.Sleep(500 * time.Millisecond)
	if got := first(); got > 2 {
		t.Fatalf("RAW begins at %d although the letters of frame 2 are not out", got)
	}
	kv, err := r.js.KeyValue(t.Context(), r.inst.Names.BucketLeases())
	if err != nil {
		t.Fatal(err)
	}
	if err := bus.PutDeadOut(t.Context(), kv, r.inst, 0, last); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "RAW is trimmed", func() bool { return first() >= last-1 })
}

func TestTrimmingFindsTheCheckpointThatTakeoverCouldNotRead(t *testing.T) {
	r := newRig(t, 1)
	stop := r.start(r.indexer())
	var last uint64
	for range 20 {
		last = r.feed(0, 5, plain)
	}
	r.settled(0, last)
	stop()
	x := r.indexer(func(c *Config) { c.Keep, c.TrimEvery = time.Nanosecond, 50*time.Millisecond })
	sink, _ := r.twin(x)
	s := sink.shards[0]
	s.trimmable.Store(nil) // as if ENRICHED had not answered
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.trim(ctx) }()
	testkit.Eventually(t, "RAW is trimmed", func() bool {
		raw, err := r.js.Stream(t.Context(), r.inst.Names.StreamRaw(0))
		return err == nil && raw.CachedInfo().State.FirstSeq >= last-1
	})
	cancel()
	<-done
}

func TestPaceWaitsLongerForABusySink(t *testing.T) {
	p := pace{minAge: 100 * time.Millisecond, maxAge: 700 * time.Millisecond, maxRows: 4000, maxBytes: 1 << 30}
	now := time.Now()
	made := func(rows int, age time.Duration) *batch {
		return &batch{frames: 1, rows: rows, started: now.Add(-age)}
	}
	for _, c := range []struct {
		rows int
		age  time.Duration
		want bool
	}{
		{1, 0, false},
		{1, 50 * time.Millisecond, false},
		{1, 110 * time.Millisecond, true},
		{3999, 20 * time.Millisecond, false},
		{3999, 30 * time.Millisecond, false},
		{4000, 0, true},
		{10, 700 * time.Millisecond, true},
	} {
		if got := p.wait(made(c.rows, c.age), now) == 0; got != c.want {
			t.Errorf("%d rows of %s: cut %v, want %v", c.rows, c.age, got, c.want)
		}
	}
	quiet, busy := p.wait(made(1, 50*time.Millisecond), now), p.wait(made(3600, 50*time.Millisecond), now)
	if quiet >= busy {
		t.Errorf("a quiet sink waits %s, a busy one %s", quiet, busy)
	}
}

func TestADamagedOrNewerFrameIsNeverSkipped(t *testing.T) {
	b, j := newBatch([]int{7}), newJoiner()
	header := func(codec, verdict string) map[string][]string {
		return map[string][]string{
			bus.HeaderCodec: {codec}, bus.HeaderVerdict: {verdict}, bus.HeaderCheckpoint: {"{}"},
		}
	}
	row := frame.NewBlock(frame.RowSchema)
	addRow(row, 7, 1, 0, "")
	one := frame.Pack(nil, row.AppendNative(nil))
	from := func(shard, seq int) []byte {
		other := frame.NewBlock(frame.RowSchema)
		addRow(other, uint16(shard), uint64(seq), 0, "")
		return frame.Pack(nil, other.AppendNative(nil))
	}
	take := func(seq uint64, h map[string][]string, body []byte) error {
		a, err := inspect(seq, h, body)
		if err != nil {
			return err
		}
		if err := b.add(&a); err != nil {
			return err
		}
		_, err = j.join(b)
		return err
	}
	for name, c := range map[string]struct {
		header map[string][]string
		body   []byte
		want   error
	}{
		"a newer codec":                    {header("2", `{"in":0}`), nil, ErrNewerCodec},
		"no verdict":                       {header("1", ``), nil, frame.ErrDamaged},
		"a verdict that does not add up":   {header("1", `{"in":2,"rows":1}`), one, frame.ErrDamaged},
		"a verdict of less than nothing":   {header("1", `{"in":0,"rows":1,"repeats":-1}`), one, frame.ErrDamaged},
		"a body that is not packed":        {header("1", `{"in":1,"rows":1}`), []byte("?"), frame.ErrDamaged},
		"a body that is no block":          {header("1", `{"in":1,"rows":1}`), frame.Pack(nil, []byte("no block")), frame.ErrDamaged},
		"a body that is cut short":         {header("1", `{"in":1,"rows":1}`), one[:len(one)-1], frame.ErrDamaged},
		"a body of fewer rows":             {header("1", `{"in":2,"rows":2}`), one, frame.ErrDamaged},
		"a row of another shard":           {header("1", `{"in":1,"rows":1}`), from(6, 1), frame.ErrDamaged},
		"a row of another frame":           {header("1", `{"in":1,"rows":1}`), from(7, 2), frame.ErrDamaged},
		"a codec that is no number at all": {header("x", `{"in":0}`), nil, frame.ErrDamaged},
	} {
		b.reset()
		if err := take(1, c.header, c.body); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	b.reset()
	if err := take(1, header("1", `{"in":1,"rows":1}`), one); err != nil || b.rows != 1 || j.rows.Rows() != 1 {
		t.Fatalf("a good frame: %v, %d rows", err, b.rows)
	}
	if got, want := b.bytes, j.rows.Size(); got != want {
		t.Errorf("the batch believes to have %d bytes, they are %d", got, want)
	}
	if err := take(3, header("1", `{"in":0}`), nil); !errors.Is(err, ErrGap) {
		t.Errorf("frame 3 after frame 1: %v", err)
	}
}

func TestInsertNeedsTheWritersRightsOnly(t *testing.T) {
	r := newRig(t, 1)
	x := r.indexer()
	tab := x.newTable()
	defer tab.close()
	b := newBlock([]bus.Range{{Shard: 0, First: 1, Last: 2}, {Shard: 1, First: 1, Last: 1}})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := tab.Probe(ctx, b.rows); err != nil {
		t.Fatal(err)
	}
	if n := r.db.Count("SELECT count() FROM events"); n != 0 {
		t.Fatalf("a probe stored %d rows", n)
	}
	if err := tab.Insert(ctx, b.rows, "t"); err != nil {
		t.Fatal(err)
	}
	present, err := tab.Present(ctx, b.intent.Ranges)
	if err != nil || len(present) != 6 {
		t.Errorf("present: %d rows, %v", len(present), err)
	}
	// Frame 2 of shard 0 is there, frame 2 of shard 1 is not.
	for _, c := range []struct {
		ranges []bus.Range
		want   uint64
	}{
		{b.intent.Ranges, 6},
		{b.intent.Ranges[1:], 2},
		{[]bus.Range{{Shard: 1, First: 2, Last: 9}}, 0},
		{[]bus.Range{{Shard: 0, First: 2, Last: 9}, {Shard: 1, First: 2, Last: 9}}, 2},
	} {
		if n, err := tab.Count(ctx, c.ranges); err != nil || n != c.want {
			t.Errorf("rows of %v: %d, %v; want %d", c.ranges, n, err, c.want)
		}
	}
	if beyond, err := tab.Beyond(ctx, 0, 1); err != nil || beyond != 2 {
		t.Errorf("beyond frame 1: %d, %v", beyond, err)
	}
	if x.cfg.DB.Password == "" && !strings.Contains(x.cfg.DB.URL, localdb.WriterUser) {
		t.Error("the test did not run as the writer")
	}
}

// An owner that is paused, or killed, after its block is in and before its
// proof is written leaves the block open: the next owner must read its frames
// again, whatever the first one's trimmers do until it is fenced.
func TestNothingIsTrimmedBeforeTheLedgerSaysThatItIsProven(t *testing.T) {
	r := newRig(t, 2)
	for range 5 {
		r.feed(0, 5, plain)
		r.feed(1, 5, plain)
	}
	s, c := r.twin(r.indexer(func(c *Config) { c.Keep = time.Nanosecond }))
	b := s.newBatch()
	for _, sh := range s.shards {
		if err := sh.reread(t.Context(), b, 1, 5); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.commit(t.Context(), c, b); err != nil {
		t.Fatal(err)
	}
	trim := func() {
		t.Helper()
		for _, sh := range s.shards {
			if err := sh.trimOnce(t.Context(), sh.trimmable.Load(), true); err != nil {
				t.Fatal(err)
			}
		}
	}
	first := func(shard int) uint64 {
		t.Helper()
		enriched, err := r.js.Stream(t.Context(), r.inst.Names.StreamEnriched(shard))
		if err != nil {
			t.Fatal(err)
		}
		return enriched.CachedInfo().State.FirstSeq
	}
	trim()
	if first(0) != 1 || first(1) != 1 {
		t.Errorf("ENRICHED begins at %d and %d, and the ledger has proven nothing", first(0), first(1))
	}
	s, c = r.twin(r.indexer(func(c *Config) { c.Keep = time.Nanosecond }))
	trim() // it has settled the block, and not said so yet
	if first(0) != 1 || first(1) != 1 {
		t.Errorf("ENRICHED begins at %d and %d before the next owner's proof", first(0), first(1))
	}
	if err := c.close(t.Context()); err != nil {
		t.Fatal(err)
	}
	trim()
	if first(0) != 5 || first(1) != 5 {
		t.Errorf("ENRICHED begins at %d and %d after the proof, want 5", first(0), first(1))
	}
	r.exact(0, 0)
	r.exact(1, 0)
}

// While ClickHouse is away the batch in hand grows to its limits. Frames of few
// rows or none, such as those of a storm of repeats, must reach one too.
func TestABatchOfSmallFramesIsFull(t *testing.T) {
	p := pace{minAge: time.Second, maxAge: time.Second, maxRows: 5000, maxBytes: 1 << 20}
	row := frame.NewBlock(frame.RowSchema)
	addRow(row, 0, 1, 0, "event")
	native := row.AppendNative(nil)
	for name, a := range map[string]arrival{
		"without rows": {totals: bus.Totals{In: 1, Repeats: 1}, body: make([]byte, 700)},
		"of one row":   {totals: bus.Totals{In: 1, Rows: 1}, size: len(native) - emptyNative, body: frame.Pack(nil, native)},
	} {
		b := newBatch([]int{0})
		for a.seq = 1; !p.full(b); a.seq++ {
			if err := b.add(&a); err != nil {
				t.Fatal(err)
			}
			if b.frames > 2*p.maxRows || len(b.packed) > p.maxBytes {
				t.Fatalf("%s: %d frames, %d packed bytes of %d rows, and not full", name, b.frames, len(b.packed), b.rows)
			}
		}
		t.Logf("%s: %d frames, %d bytes packed, %d unpacked", name, b.frames, len(b.packed), b.bytes)
	}
}

func TestTheWordsOfARefusalFitTheLedger(t *testing.T) {
	for _, c := range []string{"plain words", `"quoted" \ and 'not'`, "<a>&</a>", "\x00\x01\x1f\x7f", "é ✓ 𝄞 \u2028\u2029", "\xff\xfe not text"} {
		text := whyText(errors.New(strings.Repeat(c, maxWhy)))
		quoted, err := json.Marshal(text)
		if err != nil || len(quoted)-2 > maxWhy || len(quoted)-2 <= maxWhy-7 {
			t.Errorf("%q takes %d bytes, want up to %d: %v", c, len(quoted)-2, maxWhy, err)
		}
	}
}
