package query

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/localdb"
)

func TestVerifyNamesTampering(t *testing.T) {
	r := newRig(t, len(tamperings))
	ledger, err := r.js.Stream(t.Context(), r.inst.Names.StreamLedger())
	r.must(err)
	cfg := ledger.CachedInfo().Config
	cfg.MaxMsgsPerSubject = keptRecords
	_, err = r.js.UpdateStream(t.Context(), cfg)
	r.must(err)
	for shard, tc := range tamperings {
		tc.do(r.lane(shard))
	}
	r.flush()
	report, err := r.svc.Verify(t.Context(), VerifyOptions{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if report.OK {
		t.Error("the report says that all is well")
	}
	if total := len(report.Findings) + report.Omitted; len(report.Findings) != maxFindings || total <= maxFindings {
		t.Errorf("%d findings listed, %d omitted", len(report.Findings), report.Omitted)
	}
	for shard, tc := range tamperings {
		rec, err := r.svc.lastShare(t.Context(), r.inst, shard)
		r.must(err)
		shown, _, f, err := r.svc.compareShard(t.Context(), r.inst, shard, pin{raw: rec.Proven}, func(Progress) {})
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		var got []string
		for _, x := range f.list {
			got = append(got, fmt.Sprintf("%s %d-%d %d/%d", x.Kind, x.First, x.Last, x.Expected, x.Found))
			if x.Shard != shard || x.Detail == "" {
				t.Errorf("%s: %+v", tc.name, x)
			}
		}
		want := slices.Clone(tc.want)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n got  %s\n want %s\n%+v", tc.name, strings.Join(got, ", "), strings.Join(want, ", "), f.list)
		}
		if report.Shards[shard].OK != (len(tc.want) == 0) {
			t.Errorf("%s: the report says ok %v", tc.name, report.Shards[shard].OK)
		}
		if report.Shards[shard].Accepted != rec.Totals.In || shown.Rows != rec.Totals.Rows {
			t.Errorf("%s: the report counts %+v, the ledger %+v", tc.name, report.Shards[shard], rec.Totals)
		}
	}
}

// Blocks hold frames of several shards; each shard is counted for itself.
func TestVerifyOfShardsThatShareASink(t *testing.T) {
	r := newRig(t, 3, 1)
	lanes := []*lane{r.lane(0), r.lane(1), r.lane(2)}
	rec := bus.Record{Incarnation: r.inst.Incarnation, Shards: []bus.Proof{{Shard: 0}, {Shard: 1}, {Shard: 2}}, Owner: "test"}
	store := func() {
		r.must(bus.LedgerAppend(t.Context(), r.js, lanes[0].ledger, r.inst.Names, &rec, rec.Revision))
	}
	block := func(excluded []bus.Exclusion, ranges ...bus.Range) {
		rec.Open = &bus.Intent{Ranges: ranges}
		store()
		if len(excluded) > 0 {
			rec.Open.Excluded, rec.Open.Whys = excluded, []string{"too long"}
			store()
		}
		rec.Shards = rec.After()
		rec.Open = nil
	}
	block(nil, lanes[0].frames(part{}, part{}), lanes[2].frames(part{rows: 20}))
	block([]bus.Exclusion{{Shard: 2, Seq: 2, Idx: 4}}, lanes[1].frames(part{}), lanes[2].frames(part{}, part{}))
	lanes[2].lose(place(2, 4))
	lanes[2].dead(2, 4, 1, "indexer")
	block(nil, lanes[0].frames(part{}))
	store()
	r.flush()
	check := func(want ...string) Report {
		t.Helper()
		report, err := r.svc.Verify(t.Context(), VerifyOptions{}, nil)
		r.must(err)
		var got []string
		for _, x := range report.Findings {
			got = append(got, fmt.Sprintf("shard %d: %s %d-%d %d/%d", x.Shard, x.Kind, x.First, x.Last, x.Expected, x.Found))
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		return report
	}
	report := check()
	for shard, want := range []bus.Totals{
		{In: 36, Rows: 30, Dead: 3, Repeats: 3}, {In: 12, Rows: 10, Dead: 1, Repeats: 1}, {In: 46, Rows: 39, Dead: 4, Repeats: 3},
	} {
		s := report.Shards[shard]
		if got := (bus.Totals{In: s.Accepted, Rows: s.Rows, Dead: s.Dead, Repeats: s.Repeats}); got != want {
			t.Errorf("shard %d: %+v, want %+v", shard, got, want)
		}
	}
	if st := r.status(); st.Shards[2].Proven != 3 || st.Shards[2].Indexed != 39 || !st.Shards[2].Open {
		t.Errorf("status of shard 2: %+v", st.Shards[2])
	}
	// A row of shard 0 does not make up for one of shard 2 with the same number.
	r.db.Exec("ALTER TABLE millrace.events DELETE WHERE _shard = 2 AND _seq = 3 AND _idx = 1 SETTINGS mutations_sync = 2")
	lanes[0].row(3, 10)
	r.flush()
	check("shard 0: surplus 3-3 10/11", "shard 2: missing 3-3 10/9")
}

// verify asks over HTTP and returns the lines of the answer.
func (r *rig) verify(query string) (progress []Progress, last verifyLine) {
	r.Helper()
	a := r.post("/v1/verify", query, "")
	if a.status != http.StatusOK || a.err != nil {
		r.Fatalf("verify: %d %s (%v)", a.status, a.body, a.err)
	}
	lines := strings.Split(strings.TrimSuffix(a.body, "\n"), "\n")
	for i, text := range lines {
		last = verifyLine{}
		if err := json.Unmarshal([]byte(text), &last); err != nil {
			r.Fatalf("line %q: %v", text, err)
		}
		if (last.Progress == nil) != (i == len(lines)-1) {
			r.Fatalf("line %d of %d: %s", i+1, len(lines), text)
		}
		if last.Progress != nil {
			progress = append(progress, *last.Progress)
		}
	}
	return progress, last
}

func TestVerifyWaits(t *testing.T) {
	r := newRig(t, 2)
	l := r.lane(0)
	l.block(part{}, part{})
	r.flush()
	progress, last := r.verify("wait=0s")
	if last.Report == nil || !last.Report.OK || last.Report.Accepted != 24 || last.Report.Rows != 20 || last.Report.Dead != 2 || last.Report.Repeats != 2 || last.Report.Pending != 0 {
		t.Errorf("a whole installation: %+v", last.Report)
	}
	if len(progress) == 0 {
		t.Error("no progress was told")
	}

	// Accepted and not proven: pending, and no fault if there was no time for it to move.
	in := l.frames(part{skip: true})
	_, last = r.verify("wait=0s")
	if s := last.Report; !s.OK || s.Pending != 12 || s.Shards[0].PendingFrames != 1 || s.Shards[0].PendingEvents != 12 {
		t.Errorf("pending: %+v", last.Report)
	}
	// Time enough, and nothing moved.
	_, last = r.verify("wait=2100ms")
	if s := last.Report; s.OK || len(s.Findings) != 1 || s.Findings[0].Kind != KindStuck || s.Findings[0].First != 3 || s.Findings[0].Last != 3 {
		t.Errorf("stuck: %+v", last.Report)
	}
	// What comes while it waits is compared too, dead letters that come after the proof included.
	l.announce(in)
	l.rows(3, 10)
	r.flush()
	done := make(chan verifyLine, 1)
	go func() {
		_, last := r.verify("wait=1m")
		done <- last
	}()
	l.done()
	select {
	case last := <-done:
		t.Fatalf("it did not wait for the dead letter: %+v", last.Report)
	case <-time.After(300 * time.Millisecond):
	}
	l.dead(3, 11, 1, "door")
	r.flush()
	if last := <-done; last.Report == nil || !last.Report.OK || last.Report.Accepted != 36 || last.Report.Pending != 0 {
		t.Errorf("after the wait: %+v", last.Report)
	}

	for _, query := range []string{"wait=x", "wait=-1s", "wait=11m", "wat=1s", "wait=1s&wait=2s"} {
		if a := r.post("/v1/verify", query, ""); a.status != http.StatusBadRequest {
			t.Errorf("%s: %d", query, a.status)
		}
	}
	// An outage is an error, not a finding.
	if err := r.db.Kill(); err != nil {
		t.Fatal(err)
	}
	_, last = r.verify("wait=0s")
	if last.Report != nil || last.Error == nil || last.Error.Status != http.StatusServiceUnavailable {
		t.Errorf("without ClickHouse: %+v", last)
	}
}

// TestChunks cuts a large shard, with frames of very different sizes, and counts every row of it.
func TestChunks(t *testing.T) {
	r := newRig(t, 1)
	const few, many = 300_000, 900_000
	// Frame n for n < few has one row; then 3 frames far away have a third of the rest each, more than a chunk has room
	// for two of.
	writer := r.db.Open(localdb.WriterUser)
	r.must(writer.Exec(t.Context(), "INSERT INTO events (_shard, _seq, _idx, received_at) SELECT 0, number + 1, 0, now64(3) FROM numbers(?)", few))
	r.must(writer.Exec(t.Context(), "INSERT INTO events (_shard, _seq, _idx, received_at) SELECT 0, 1000000000 + number % 3, intDiv(number, 3), now64(3) FROM numbers(?)", many))
	var chunks [][2]uint64
	for c, err := range r.svc.chunks(t.Context(), tableEvents, 0, 0, 2_000_000_000) {
		r.must(err)
		if n := len(chunks); n > 0 && c[0] <= chunks[n-1][1] || c[1] < c[0] {
			t.Fatalf("chunk %v after %v", c, chunks)
		}
		chunks = append(chunks, c)
	}
	if len(chunks) < 3 {
		t.Errorf("only %d chunks: %v", len(chunks), chunks)
	}
	var frames, rows, last uint64
	for f, err := range r.svc.rowsIn(t.Context(), 0, 2_000_000_000) {
		r.must(err)
		if f.seq <= last {
			t.Fatalf("frame %d after %d", f.seq, last)
		}
		want := uint64(1)
		if f.seq >= 1_000_000_000 {
			want = many / 3
		}
		if f.rows != want || f.distinct != want || uint64(f.highest) != want-1 {
			t.Fatalf("%+v, want %d rows", f, want)
		}
		frames, rows, last = frames+1, rows+f.rows, f.seq
	}
	if frames != few+3 || rows != few+many {
		t.Errorf("%d frames and %d rows", frames, rows)
	}
}
