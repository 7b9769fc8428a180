package reports

import (
	"net/url"
	"strings"
	"testing"
	"time"
)

func periodOf(t *testing.T, now, query string) (period, error) {
	t.Helper()
	values, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	at, err := time.Parse(time.RFC3339, now)
	if err != nil {
		t.Fatal(err)
	}
	in := newInput(values, at)
	p := in.period()
	return p, in.err()
}

func times(list ...time.Time) string {
	var text []string
	for _, t := range list {
		text = append(text, t.UTC().Format("2006-01-02T15:04:05.999"))
	}
	return strings.Join(text, " ")
}

func TestPeriods(t *testing.T) {
	for _, tc := range []struct{ query, period, previous, interval string }{
		// now is 2026-11-23T12:30:00Z, a Monday; a millisecond more, so that this very one counts.
		{"", "2026-10-25T00:00:00 2026-11-23T12:30:00.001", "2026-09-25T00:00:00 2026-10-24T12:30:00.001", "day"},
		{"last=7d", "2026-11-17T00:00:00 2026-11-23T12:30:00.001", "2026-11-10T00:00:00 2026-11-16T12:30:00.001", "day"},
		{"last=1d", "2026-11-23T00:00:00 2026-11-23T12:30:00.001", "2026-11-22T11:00:00 2026-11-22T23:30:00.001", "hour"},
		{"last=1d&interval=day", "2026-11-23T00:00:00 2026-11-23T12:30:00.001", "2026-11-22T00:00:00 2026-11-22T12:30:00.001", "day"},
		{"last=90m", "2026-11-23T11:01:00 2026-11-23T12:30:00.001", "2026-11-23T09:31:00 2026-11-23T11:00:00.001", "minute"},
		{"last=24h", "2026-11-22T13:00:00 2026-11-23T12:30:00.001", "2026-11-21T13:00:00 2026-11-22T12:30:00.001", "hour"},
		{"last=2w&interval=week", "2026-11-16T00:00:00 2026-11-23T12:30:00.001", "2026-11-02T00:00:00 2026-11-09T12:30:00.001", "week"},
		{"last=3mo&interval=month", "2026-09-01T00:00:00 2026-11-23T12:30:00.001", "2026-06-01T00:00:00 2026-08-23T12:30:00.001", "month"},
		{"last=12mo", "2025-12-01T00:00:00 2026-11-23T12:30:00.001", "2024-12-02T00:00:00 2025-11-24T12:30:00.001", "week"},
		{"from=2026-11-01&to=2026-11-03", "2026-11-01T00:00:00 2026-11-03T00:00:00", "2026-10-30T00:00:00 2026-11-01T00:00:00", "hour"},
		{"from=2026-11-01T08:30&to=2026-11-01T09:00:00Z", "2026-11-01T08:30:00 2026-11-01T09:00:00", "2026-11-01T08:00:00 2026-11-01T08:30:00", "minute"},
		// Berlin: UTC+2 until 25 October at 1:00 UTC.
		{"zone=Europe/Berlin&from=2026-10-24&to=2026-10-27&interval=day", "2026-10-23T22:00:00 2026-10-26T23:00:00", "2026-10-20T22:00:00 2026-10-23T22:00:00", "day"},
		{"zone=Europe/Berlin&last=1mo&interval=month", "2026-10-31T23:00:00 2026-11-23T12:30:00.001", "2026-09-30T22:00:00 2026-10-23T11:30:00.001", "month"},
		// There is no 31 February.
		{"from=2026-03-01&to=2026-03-31T10:00&interval=month", "2026-03-01T00:00:00 2026-03-31T10:00:00", "2026-02-01T00:00:00 2026-02-28T10:00:00", "month"},
	} {
		p, err := periodOf(t, "2026-11-23T12:30:00Z", tc.query)
		if err != nil {
			t.Errorf("%s: %v", tc.query, err)
			continue
		}
		prev := p.previous()
		if got := times(p.from, p.to); got != tc.period {
			t.Errorf("%q is %s, want %s", tc.query, got, tc.period)
		}
		if got := times(prev.from, prev.to); got != tc.previous {
			t.Errorf("before %q is %s, want %s", tc.query, got, tc.previous)
		}
		if p.interval != tc.interval {
			t.Errorf("%q is cut by the %s, want %s", tc.query, p.interval, tc.interval)
		}
	}
}

func TestBuckets(t *testing.T) {
	for _, tc := range []struct{ query, buckets string }{
		{"from=2026-10-24&to=2026-10-27&interval=day&zone=Europe/Berlin", "2026-10-23T22:00:00 2026-10-24T22:00:00 2026-10-25T23:00:00"},
		{"from=2026-10-25T00:30:00Z&to=2026-10-25T02:00:00Z&interval=hour&zone=Europe/Berlin", "2026-10-25T00:00:00 2026-10-25T01:00:00"},
		{"from=2026-11-22T00:00&to=2026-11-22T02:00&interval=hour&zone=Asia/Kathmandu", "2026-11-21T18:15:00 2026-11-21T19:15:00"},
		{"from=2026-11-22&to=2026-11-24&interval=week", "2026-11-16T00:00:00 2026-11-23T00:00:00"},
		{"from=2026-01-31&to=2026-03-01T00:00:00.001&interval=month", "2026-01-01T00:00:00 2026-02-01T00:00:00 2026-03-01T00:00:00"},
		{"from=2026-11-22T10:00:59.999&to=2026-11-22T10:01:00.001&interval=minute", "2026-11-22T10:00:00 2026-11-22T10:01:00"},
	} {
		p, err := periodOf(t, "2026-11-23T12:30:00Z", tc.query)
		if err != nil {
			t.Errorf("%s: %v", tc.query, err)
		} else if got := times(p.buckets()...); got != tc.buckets {
			t.Errorf("%s: buckets %s, want %s", tc.query, got, tc.buckets)
		}
	}
}
