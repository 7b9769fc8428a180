package indexer

import (
	"context"
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
	ledger, err := r.js.Stream(t.Context(), r.inst.Names.StreamLedger())
	if err != nil {
		t.Fatal(err)
	}
	s := &shard{id: 0, cfg: &x.cfg, inst: r.inst, names: r.inst.Names, js: r.js, ledger: ledger, table: x.newTable(), metrics: x.metrics, log: x.log}
	defer s.table.close()
	if _, _, err := s.takeover(t.Context()); err != nil {
		t.Fatal(err)
	}
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

func TestPaceWaitsLongerForABusyShard(t *testing.T) {
	p := pace{minAge: 100 * time.Millisecond, maxAge: 700 * time.Millisecond, maxRows: 1000, maxBytes: 1 << 30}
	now := time.Now()
	made := func(rows int, age time.Duration) *batch {
		b := newBatch()
		b.started = now.Add(-age)
		for range rows {
			addRow(b.rows, 0, 1, 0, "")
		}
		return b
	}
	for _, c := range []struct {
		rows int
		age  time.Duration
		want bool
	}{
		{1, 0, false},
		{1, 50 * time.Millisecond, false},
		{1, 110 * time.Millisecond, true},
		{999, 20 * time.Millisecond, false},
		{999, 30 * time.Millisecond, false},
		{1000, 0, true},
		{10, 700 * time.Millisecond, true},
	} {
		if got := p.wait(made(c.rows, c.age), now) == 0; got != c.want {
			t.Errorf("%d rows of %s: cut %v, want %v", c.rows, c.age, got, c.want)
		}
	}
	quiet, busy := p.wait(made(1, 50*time.Millisecond), now), p.wait(made(900, 50*time.Millisecond), now)
	if quiet >= busy {
		t.Errorf("a quiet shard waits %s, a busy one %s", quiet, busy)
	}
}

func TestADamagedOrNewerFrameIsNeverSkipped(t *testing.T) {
	d, b := newDecoder(), newBatch()
	header := func(codec, verdict string) map[string][]string {
		return map[string][]string{
			bus.HeaderCodec: {codec}, bus.HeaderVerdict: {verdict}, bus.HeaderCheckpoint: {"{}"},
		}
	}
	for name, c := range map[string]struct {
		header map[string][]string
		want   error
	}{
		"a newer codec":                    {header("2", `{"in":0}`), ErrNewerCodec},
		"no verdict":                       {header("1", ``), frame.ErrDamaged},
		"a verdict that does not add up":   {header("1", `{"in":2,"rows":1}`), frame.ErrDamaged},
		"a body that is no block":          {header("1", `{"in":1,"rows":1}`), frame.ErrDamaged},
		"a codec that is no number at all": {header("x", `{"in":0}`), frame.ErrDamaged},
	} {
		if err := d.add(b, 1, c.header, []byte("?")); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if b.frames != 0 || b.rows.Rows() != 0 {
		t.Errorf("the batch has taken %d frames, %d rows", b.frames, b.rows.Rows())
	}
	if err := d.add(b, 1, header("1", `{"in":0}`), nil); err != nil {
		t.Fatal(err)
	}
	if err := d.add(b, 3, header("1", `{"in":0}`), nil); !errors.Is(err, ErrGap) {
		t.Errorf("frame 3 after frame 1: %v", err)
	}
}

func TestInsertNeedsTheWritersRightsOnly(t *testing.T) {
	r := newRig(t, 1)
	x := r.indexer()
	tab := x.newTable()
	defer tab.close()
	b := modelBatches()[0]
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
	present, err := tab.Present(ctx, 0, 1, 2)
	if err != nil || len(present) != 6 {
		t.Errorf("present: %d rows, %v", len(present), err)
	}
	if beyond, err := tab.Beyond(ctx, 0, 1); err != nil || beyond != 2 {
		t.Errorf("beyond frame 1: %d, %v", beyond, err)
	}
	if x.cfg.DB.Password == "" && !strings.Contains(x.cfg.DB.URL, localdb.WriterUser) {
		t.Error("the test did not run as the writer")
	}
}
