package reports

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
)

// Zones that change their clocks at midnight, forward from it or back to it.
var midnightZones = []string{"America/Santiago", "America/Havana", "Africa/Cairo", "Asia/Beirut", "America/Asuncion"}

func zoneNamed(t *testing.T, name string) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

// A day begins at the first instant of its date, and ClickHouse says so too.
func TestDaysBeginWithTheirFirstInstant(t *testing.T) {
	r := newRig(t)
	for _, name := range append([]string{"UTC", "Europe/Berlin", "Australia/Lord_Howe"}, midnightZones...) {
		zone := zoneNamed(t, name)
		var starts []string
		for civil := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC); civil.Year() < 2028; civil = civil.AddDate(0, 0, 1) {
			at := moment(civil, zone)
			if got, before := midnight(shown(at)), midnight(shown(at.Add(-1))); !got.Equal(civil) || !before.Before(civil) {
				t.Errorf("%s: %s begins at %s, a moment before it is %s", name, civil.Format(time.DateOnly), at, before.Format(time.DateOnly))
			}
			starts = append(starts, fmt.Sprint(at.Unix()))
		}
		text, err := r.Read(t.Context(), `SELECT countIf(toStartOfInterval(at, INTERVAL 1 DAY, {zone:String}) != at), count()
			FROM (SELECT toDateTime(arrayJoin({starts:Array(Int64)}), 'UTC') AS at)`, "TSV",
			map[string]string{"zone": name, "starts": "[" + strings.Join(starts, ",") + "]"}, 1<<10)
		if err != nil || strings.TrimSpace(string(text)) != fmt.Sprint("0\t", len(starts)) {
			t.Errorf("%s: ClickHouse has others: %s %v", name, text, err)
		}
	}
}

// What clocks skip is the instant at which they skip it, what they show twice the first time.
func TestMoment(t *testing.T) {
	for _, tc := range []struct{ zone, civil, want string }{
		{"America/Santiago", "2026-09-06T00:00", "2026-09-06T04:00"},
		{"America/Santiago", "2026-09-06T00:59", "2026-09-06T04:00"},
		{"America/Santiago", "2026-09-06T01:00", "2026-09-06T04:00"},
		{"America/Santiago", "2026-04-04T23:30", "2026-04-05T02:30"},
		{"America/Santiago", "2026-04-05T00:00", "2026-04-05T04:00"},
		{"America/Havana", "2026-03-08T00:00", "2026-03-08T05:00"},
		{"America/Havana", "2026-11-01T00:00", "2026-11-01T04:00"},
		{"America/Havana", "2026-11-01T00:59", "2026-11-01T04:59"},
		{"America/Havana", "2026-11-01T01:00", "2026-11-01T06:00"},
		{"Africa/Cairo", "2026-04-24T00:00", "2026-04-23T22:00"},
		{"Pacific/Apia", "2011-12-30T08:00", "2011-12-30T10:00"},
		{"Pacific/Apia", "2011-12-31T00:00", "2011-12-30T10:00"},
		{"Europe/Berlin", "2026-03-29T02:30", "2026-03-29T01:00"},
		{"Europe/Berlin", "2026-10-25T02:30", "2026-10-25T00:30"},
		{"UTC", "2026-10-25T02:30", "2026-10-25T02:30"},
	} {
		const form = "2006-01-02T15:04"
		civil, err := time.Parse(form, tc.civil)
		if err != nil {
			t.Fatal(err)
		}
		if got := moment(civil, zoneNamed(t, tc.zone)).UTC().Format(form); got != tc.want {
			t.Errorf("%s in %s is %s, want %s", tc.civil, tc.zone, got, tc.want)
		}
	}
}

// The event of a day's first instant is of that day, and the one a millisecond earlier of the day before, in the answer and
// in that of the period before.
func TestDaysWithoutMidnight(t *testing.T) {
	r := newRig(t)
	const form = "2006-01-02T15:04"
	for i, tc := range []struct{ zone, from, to, starts string }{
		{"America/Santiago", "2026-09-05", "2026-09-08", "2026-09-05T04:00 2026-09-06T04:00 2026-09-07T03:00"},
		{"America/Santiago", "2026-09-06", "2026-09-07", "2026-09-06T04:00"},
		{"America/Santiago", "2026-09-06T00:30", "2026-09-08", "2026-09-06T04:00 2026-09-07T03:00"},
		{"America/Santiago", "2026-09-07", "2026-09-08", "2026-09-07T03:00"}, // the day before has no midnight
		{"America/Havana", "2026-03-07", "2026-03-10", "2026-03-07T05:00 2026-03-08T05:00 2026-03-09T04:00"},
		{"America/Havana", "2026-10-31", "2026-11-03", "2026-10-31T04:00 2026-11-01T04:00 2026-11-02T05:00"},
		{"Africa/Cairo", "2026-04-23", "2026-04-26", "2026-04-22T22:00 2026-04-23T22:00 2026-04-24T21:00"},
		{"Africa/Cairo", "2026-04-24", "2026-04-25", "2026-04-23T22:00"},
	} {
		source := fmt.Sprint("zone-", i)
		zone := zoneNamed(t, tc.zone)
		var buckets []time.Time
		for text := range strings.FieldsSeq(tc.starts) {
			at, err := time.Parse(form, text)
			if err != nil {
				t.Fatal(err)
			}
			buckets = append(buckets, at)
		}
		var events []happening
		happened := func(at time.Time, times int) {
			for range times {
				events = append(events, happening{source: source, typ: "track", event: "A", user: "u", at: at, idx: uint32(len(events))})
			}
		}
		// 1 at each beginning and 10 a millisecond before it: the last of these is in the day before the period.
		for _, at := range buckets {
			happened(at, 1)
			happened(at.Add(-time.Millisecond), 10)
		}
		end := moment(midnight(shown(buckets[len(buckets)-1].In(zone))).AddDate(0, 0, 1), zone)
		happened(end.Add(-time.Millisecond), 10)
		happened(end, 1)
		r.store(events)
		result, a := answerOf[Trend](r, "trend", url.Values{
			"source": {source}, "zone": {tc.zone}, "from": {tc.from}, "to": {tc.to}, "interval": {"day"}, "compare": {"true"},
		}.Encode())
		if got, want := times(result.Buckets...), times(buckets...); got != want {
			t.Errorf("%v: days begin at %s, want %s", tc, got, want)
			continue
		}
		for i, v := range result.Series[0].Values {
			if *v != 11 {
				t.Errorf("%v: day %d has %v events, want 11", tc, i+1, *v)
			}
		}
		if !a.Previous.To.Equal(buckets[0]) {
			t.Errorf("%v: the period before ends at %s, want %s", tc, a.Previous.To, buckets[0])
		}
		first := midnight(shown(buckets[0].In(zone)))
		if want := moment(first.AddDate(0, 0, -len(buckets)), zone); !a.Previous.From.Equal(want) {
			t.Errorf("%v: the period before begins at %s, want %s", tc, a.Previous.From, want)
		}
	}
}
