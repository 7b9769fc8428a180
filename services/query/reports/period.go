package reports

import (
	"regexp"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // zones are those of the release, wherever it runs
)

// The lengths of a bucket.
const (
	minute = "minute"
	hour   = "hour"
	day    = "day"
	week   = "week" // from Monday on
	month  = "month"
)

const (
	maxBuckets  = 2000
	defaultLast = "30d"
)

// The times that a report may ask for. ClickHouse's calendar functions have a day to either side of it.
var (
	earliest = time.Date(1971, 1, 1, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(2105, 1, 1, 0, 0, 0, 0, time.UTC)
)

// period is from..to, to exclusive, cut into buckets of one interval by the calendar of a zone. The first and the last
// bucket may be there in part only.
type period struct {
	from, to time.Time // UTC, whole milliseconds
	zone     *time.Location
	interval string
}

// start is where the bucket of t begins.
func (p period) start(t time.Time) time.Time {
	t = t.In(p.zone)
	switch p.interval {
	case minute:
		return t.Truncate(time.Minute)
	case hour:
		_, offset := t.Zone()
		local := t.Unix() + int64(offset)
		return time.Unix(local-local%3600-int64(offset), 0).In(p.zone)
	}
	first := midnight(shown(t))
	switch p.interval {
	case week:
		first = first.AddDate(0, 0, -(int(first.Weekday())+6)%7)
	case month:
		first = first.AddDate(0, 0, 1-first.Day())
	}
	return moment(first, p.zone)
}

// shift is n buckets later, by the calendar. Where a day begins, another begins, whatever clocks show then.
func (p period) shift(t time.Time, n int) time.Time {
	t = t.In(p.zone)
	switch p.interval {
	case minute:
		return t.Add(time.Duration(n) * time.Minute)
	case hour:
		return t.Add(time.Duration(n) * time.Hour)
	}
	civil := shown(t)
	if today := midnight(civil); t.Equal(moment(today, p.zone)) {
		civil = today
	}
	return moment(later(civil, p.interval, n), p.zone)
}

// buckets are the times at which they begin, the first not after from. Nil: there are more than maxBuckets.
func (p period) buckets() (list []time.Time) {
	first := p.start(p.from)
	for n := 0; ; n++ {
		at := p.shift(first, n)
		switch {
		case !at.Before(p.to):
			return list
		case n == maxBuckets:
			return nil
		}
		list = append(list, at.UTC())
	}
}

// previous is as long and in the same place among its buckets; it ends where the period begins, or earlier when the
// period does not begin with a bucket or end with one.
func (p period) previous() period {
	n := len(p.buckets())
	p.from, p.to = p.shift(p.from, -n).UTC(), p.shift(p.to, -n).UTC()
	return p
}

var lastForm = regexp.MustCompile(`^([1-9][0-9]{0,3})(m|h|d|w|mo)$`)

// period reads from, to, last, zone and interval.
func (in *input) period() (p period) {
	p.zone = time.UTC
	zone := in.text("zone", "UTC", "time zone whose days and hours are meant, such as Europe/Berlin")
	if z, err := time.LoadLocation(zone); err != nil || strings.EqualFold(zone, "local") {
		in.refuse("zone %q: want a name such as UTC or Europe/Berlin", zone)
	} else {
		p.zone = z
	}
	last := in.text("last", "", "the newest n minutes (m), hours (h), days (d), weeks (w) or months (mo), the present one being one of them; "+defaultLast+" when there is no from")
	from := in.text("from", "", "the beginning: 2026-11-01, 2026-11-01T08:30 (in the zone) or 2026-11-01T08:30:00Z")
	to := in.text("to", "", "the end, exclusive; else now")
	p.interval = in.choice("interval", "", "length of a bucket; without it, one that fits the period", minute, hour, day, week, month)

	p.to = in.now.UTC().Truncate(time.Millisecond).Add(time.Millisecond) // what happens this very millisecond counts
	if to != "" {
		p.to = in.time("to", to, p.zone)
	}
	switch {
	case from != "" && last != "":
		in.refuse("from and last both say where the period begins: give one of them")
	case from != "":
		p.from = in.time("from", from, p.zone)
	default:
		if last == "" {
			last = defaultLast
		}
		m := lastForm.FindStringSubmatch(last)
		if m == nil {
			in.refuse("last %q: want a number and a unit such as 90m, 24h, 30d, 8w or 12mo", last)
			m = []string{"", "1", "d"}
		}
		n, _ := strconv.Atoi(m[1]) // the form says that it is a number
		units := period{zone: p.zone, interval: map[string]string{"m": minute, "h": hour, "d": day, "w": week, "mo": month}[m[2]]}
		p.from = units.shift(units.start(p.to.Add(-time.Millisecond)), 1-n).UTC()
	}
	if p.interval == "" {
		p.interval = fitting(p.to.Sub(p.from))
	}
	switch {
	case in.wrong != "":
	case !p.from.Before(p.to):
		in.refuse("the period is empty: it begins at %s and ends at %s", p.from.Format(time.RFC3339), p.to.Format(time.RFC3339))
	case p.from.Before(earliest) || p.to.After(latest):
		in.refuse("the period must lie between %s and %s", earliest.Format(time.DateOnly), latest.Format(time.DateOnly))
	case p.buckets() == nil:
		in.refuse("the period has more than %d intervals of a %s: choose a longer interval", maxBuckets, p.interval)
	}
	in.echo["interval"] = p.interval
	return p
}

func fitting(length time.Duration) string {
	const aDay = 24 * time.Hour
	switch {
	case length <= 2*time.Hour:
		return minute
	case length <= 3*aDay:
		return hour
	case length <= 92*aDay:
		return day
	case length <= 2*366*aDay:
		return week
	}
	return month
}

// time reads a time; one without an offset is in the zone.
func (in *input) time(name, text string, zone *time.Location) time.Time {
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t.UTC().Truncate(time.Millisecond)
	}
	for _, form := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if civil, err := time.Parse(form, text); err == nil {
			return moment(civil, zone).UTC().Truncate(time.Millisecond)
		}
	}
	in.refuse("%s %q: want a time such as 2026-11-01, 2026-11-01T08:30 or 2026-11-01T08:30:00Z", name, text)
	return in.now.UTC()
}

// index checks a bucket that ClickHouse counted against ours: the two calendars must agree.
func index(bucket int32, n int) (int, error) {
	if bucket < 0 || int(bucket) >= n {
		return 0, fault("ClickHouse counts bucket %d of a period that has %d: its calendar of the zone is another", bucket, n)
	}
	return int(bucket), nil
}
