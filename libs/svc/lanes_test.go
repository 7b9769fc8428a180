package svc

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// stuckIn is what the metric says: reason by shard, where it is 1.
func stuckIn(t *testing.T, reg *prometheus.Registry) string {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if m.GetGauge().GetValue() == 1 { // labels in the order of their names: reason, shard
				fmt.Fprintf(&b, "%s:%s ", m.GetLabel()[1].GetValue(), m.GetLabel()[0].GetValue())
			}
		}
	}
	return strings.TrimSpace(b.String())
}

func TestLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		l := NewLanes("mill", reg, "clickhouse_away", "went_back")
		is := func(metric string, words ...string) {
			t.Helper()
			if got := stuckIn(t, reg); got != metric {
				t.Errorf("the metric says %q, want %q", got, metric)
			}
			err := l.Check()
			if (err == nil) != (metric == "") {
				t.Errorf("the check says %v", err)
			}
			for _, w := range words {
				if err != nil && !strings.Contains(err.Error(), w) {
					t.Errorf("the check says %v, want %q in it", err, w)
				}
			}
		}
		is("")
		// A wait that is renewed under another text keeps its beginning.
		l.Open(3)
		l.Wait(3, "clickhouse_away", "no answer yet")
		time.Sleep(LanePatience - time.Second)
		is("")
		l.Wait(3, "clickhouse_away", "connection refused")
		time.Sleep(time.Second)
		is("3:clickhouse_away", "shard 3 is stuck", "connection refused")
		l.Done(3)
		is("")

		// Work without progress; progress, however small, ends it.
		l.Level(1, 7, 7)
		time.Sleep(time.Hour)
		l.Level(1, 7, 9) // idle until now
		time.Sleep(LanePatience - 1)
		l.Level(1, 7, 10)
		is("")
		time.Sleep(time.Nanosecond)
		is("1:no_progress", "stands at 7", "up to 10")
		l.Level(1, 8, 10)
		is("")
		// A lane that is behind and says for what it waits has that reason.
		time.Sleep(LanePatience)
		l.Wait(1, "clickhouse_away", "no answer yet")
		is("1:clickhouse_away")
		l.Done(1)
		l.Level(1, 10, 10)
		time.Sleep(time.Hour)
		is("")

		// What is done besides has its own patience, which nothing of the lane ends;
		// the lane's own reason goes first.
		l.Beside(1, "went_back", "dead letters wait")
		l.Open(1)
		l.Done(1)
		time.Sleep(LanePatience)
		is("1:went_back", "dead letters wait")
		l.Wait(1, "clickhouse_away", "no answer yet")
		is("1:went_back")
		time.Sleep(LanePatience)
		is("1:clickhouse_away")
		l.Done(1)
		is("1:went_back")
		l.Beside(1, "", "")
		is("")

		// Shut counts at once and remembers since when, until the reason changes.
		began := time.Now()
		l.Shut(2, "went_back", "RAW ends at 3")
		is("2:went_back", "shard 2 is shut")
		time.Sleep(time.Minute)
		l.Shut(2, "went_back", "RAW ends at 4")
		if st := l.Stuck(); len(st) != 1 || !st[0].Since.Equal(began) || !st[0].Shut || st[0].Lane != 2 {
			t.Errorf("stuck are %+v", st)
		}
		// A reason outside of the closed set never reaches the label.
		l.Shut(2, "a new one", "?")
		is("2:no_progress")
		l.Forget(2)
		is("")
	})
}

func TestAFaultOfAnHourIsTwentyLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Repeated
		if _, _, was := r.Over(); was {
			t.Error("a fault that was not is over")
		}
		for range 2 {
			lines := 0
			for range time.Hour / (50 * time.Millisecond) {
				if _, due := r.Again(); due {
					lines++
				}
				time.Sleep(50 * time.Millisecond)
			}
			if lines < 15 || lines > 25 {
				t.Errorf("%d lines", lines)
			}
			if times, lasted, was := r.Over(); !was || times != 72_000 || lasted != time.Hour {
				t.Errorf("over: %d times in %s, %t", times, lasted, was)
			}
		}
	})
}
