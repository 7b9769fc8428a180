package event

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestParseTime(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"2026-03-01T09:30:00Z", "2026-03-01T09:30:00.000Z"},
		{"2026-03-01T09:30:00.1Z", "2026-03-01T09:30:00.100Z"},
		{"2026-03-01T09:30:00.12Z", "2026-03-01T09:30:00.120Z"},
		{"2026-03-01T09:30:00.123Z", "2026-03-01T09:30:00.123Z"},
		{"2026-03-01T09:30:00.1239Z", "2026-03-01T09:30:00.123Z"},
		{"2026-03-01T09:30:00.999999999Z", "2026-03-01T09:30:00.999Z"},
		{"2026-03-01t09:30:00z", "2026-03-01T09:30:00.000Z"},
		{"2026-03-01 09:30:00", "2026-03-01T09:30:00.000Z"},
		{"2026-03-01T09:30", "2026-03-01T09:30:00.000Z"},
		{"2026-03-01T09:30+01:00", "2026-03-01T08:30:00.000Z"},
		{"2026-03-01", "2026-03-01T00:00:00.000Z"},
		{"2026-03-01T09:30:00+05:30", "2026-03-01T04:00:00.000Z"},
		{"2026-03-01T09:30:00+0530", "2026-03-01T04:00:00.000Z"},
		{"2026-03-01T09:30:00-08", "2026-03-01T17:30:00.000Z"},
		{"2026-03-01T00:30:00.5-23:59", "2026-03-02T00:29:00.500Z"},
		{"2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000Z"},
		{"2000-02-29", "2000-02-29T00:00:00.000Z"},
		{"1969-12-31T23:59:59.9999Z", "1969-12-31T23:59:59.999Z"},
		{"1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"},
		{"1900-01-01", "1900-01-01T00:00:00.000Z"},
		{"1899-12-31T23:00:00-01:00", "1900-01-01T00:00:00.000Z"},
		{"2299-12-31T23:59:59.9999Z", "2299-12-31T23:59:59.999Z"},
		{"2300-01-01T00:00:00+00:01", "2299-12-31T23:59:00.000Z"},
		{"2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000Z"},
		{"2016-12-31T18:59:60.25-05:00", "2017-01-01T00:00:00.250Z"},

		{"", ""},
		{"2026", ""},
		{"2026-03", ""},
		{"2026-3-01", ""},
		{"2026-03-1", ""},
		{"26-03-01", ""},
		{"2026/03/01", ""},
		{"20260301T093000Z", ""},
		{"2026-00-01", ""},
		{"2026-13-01", ""},
		{"2026-01-00", ""},
		{"2026-01-32", ""},
		{"2026-04-31", ""},
		{"2026-02-29", ""},
		{"2100-02-29", ""},
		{"2026-03-01T", ""},
		{"2026-03-01Z", ""},
		{"2026-03-01T09", ""},
		{"2026-03-01T24:00:00Z", ""},
		{"2026-03-01T09:60:00Z", ""},
		{"2026-03-01T09:30:61Z", ""},
		{"2026-03-01T09:30:60Z", ""},
		{"2026-03-01T09:30:0", ""},
		{"2026-03-01T09:30:00.Z", ""},
		{"2026-03-01T09:30:00,5Z", ""},
		{"2026-03-01T09:30:00.1234567890Z", ""},
		{"2026-03-01T09:30:00 Z", ""},
		{"2026-03-01T09:30:00Zx", ""},
		{"2026-03-01T09:30:00+", ""},
		{"2026-03-01T09:30:00+1", ""},
		{"2026-03-01T09:30:00+01:0", ""},
		{"2026-03-01T09:30:00+24:00", ""},
		{"2026-03-01T09:30:00+01:60", ""},
		{"2026-03-01T09:30:00+01:000", ""},
		{" 2026-03-01", ""},
		{"2026-03-01 ", ""},
		{"+2026-03-01", ""},
		{"-026-03-01", ""},
		{"0000-01-01", ""},
		{"9999-12-31", ""},
		{"1899-12-31T23:59:59.999Z", ""},
		{"2300-01-01", ""},
		{"2299-12-31T23:59:60Z", ""},
		{"2026-03-0\u0661", ""},
	} {
		ms, ok := ParseTime([]byte(c.in))
		got := ""
		if ok {
			got = time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
		}
		if got != c.want {
			t.Errorf("%q: got %q, want %q", c.in, got, c.want)
		}
	}
}

func TestTimeRange(t *testing.T) {
	if got := time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli(); got != MinTime {
		t.Errorf("MinTime is %d, want %d", MinTime, got)
	}
	if got := time.Date(2299, 12, 31, 23, 59, 59, 999e6, time.UTC).UnixMilli(); got != MaxTime {
		t.Errorf("MaxTime is %d, want %d", MaxTime, got)
	}
}

// TestEveryDay compares each day of the range with package time.
func TestEveryDay(t *testing.T) {
	for d := time.UnixMilli(MinTime).UTC(); d.UnixMilli() <= MaxTime; d = d.AddDate(0, 0, 1) {
		ms, ok := ParseTime([]byte(d.Format(time.DateOnly)))
		if !ok || ms != d.UnixMilli() {
			t.Fatalf("%s: got %d %v, want %d", d.Format(time.DateOnly), ms, ok, d.UnixMilli())
		}
	}
}

// FuzzTime compares with package time, both ways.
func FuzzTime(f *testing.F) {
	for _, s := range []string{
		"2026-03-01", "2026-03-01T09:30:00.123Z", "2026-03-01 09:30:00.5+0530", "2026-03-01t09:30z", "2016-12-31T23:59:60Z",
		"1899-12-31T23:00:00-01:00", "2300-01-01T00:00:00+00:01", "2024-02-29T00:00:00-08",
	} {
		f.Add(s)
	}
	strict := regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$`)
	var layouts []string
	for _, clock := range []string{"T15:04:05", "T15:04"} {
		for _, zone := range []string{"", "Z", "-07:00", "-0700", "-07"} {
			layouts = append(layouts, time.DateOnly+clock+zone)
		}
	}
	layouts = append(layouts, time.DateOnly)
	f.Fuzz(func(t *testing.T, s string) {
		ms, ok := ParseTime([]byte(s))
		// Package time alone would also take one-digit hours, a comma, +24:60.
		if want, err := time.Parse(time.RFC3339Nano, s); err == nil && strict.MatchString(s) {
			if in := want.UnixMilli() >= MinTime && want.UnixMilli() <= MaxTime; in != ok {
				t.Fatalf("%q: accepted is %v, want %v", s, ok, in)
			}
		}
		if !ok {
			return
		}
		if ms < MinTime || ms > MaxTime {
			t.Fatalf("%q: %d is out of range", s, ms)
		}
		plain := []byte(strings.ToUpper(s))
		if len(plain) > 10 {
			plain[10] = 'T'
		}
		leap := int64(0)
		if len(plain) > 18 && string(plain[16:19]) == ":60" {
			plain[17], plain[18], leap = '5', '9', 1000
		}
		for _, layout := range layouts {
			want, err := time.Parse(layout, string(plain))
			if err == nil {
				if got := want.UnixMilli() + leap; got != ms {
					t.Fatalf("%q: got %d, want %d", s, ms, got)
				}
				return
			}
		}
		t.Fatalf("%q is accepted, no layout reads it", s)
	})
}
