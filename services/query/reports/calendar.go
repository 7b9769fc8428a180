package reports

import "time"

// Calendars have days that clocks do not show whole: in Santiago, Havana or Cairo a day can begin at one o'clock, in Havana
// one has its first hour twice, and Samoa had no 30 December 2011. What time.Date makes of a time that is skipped may lie
// the day before, so all that is counted by the calendar goes through here.

// moment is the first instant at which clocks of the zone show what civil shows in UTC; where they skip it, the instant at
// which they do.
func moment(civil time.Time, zone *time.Location) time.Time {
	y, m, d := civil.Date()
	t := time.Date(y, m, d, civil.Hour(), civil.Minute(), civil.Second(), civil.Nanosecond(), zone)
	start, end := t.ZoneBounds()
	switch shown := shown(t); {
	case shown.Before(civil): // t is before the change of the clocks
		return end
	case shown.After(civil):
		return start
	}
	if start.IsZero() {
		return t
	}
	// When clocks are put back, they show a time twice.
	_, before := start.Add(-1).Zone()
	_, now := t.Zone()
	if first := t.Add(time.Duration(now-before) * time.Second); first.Before(t) && shown(first).Equal(civil) {
		return first
	}
	return t
}

// shown is what clocks of t's zone show at t, as a time in UTC.
func shown(t time.Time) time.Time {
	y, m, d := t.Date()
	return time.Date(y, m, d, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// midnight is the day of a civil time.
func midnight(civil time.Time) time.Time {
	y, m, d := civil.Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}

// later is n days, weeks or months later by the calendar. The 31st of a month is the last day of a month that has none.
func later(civil time.Time, interval string, n int) time.Time {
	switch interval {
	case day:
		return civil.AddDate(0, 0, n)
	case week:
		return civil.AddDate(0, 0, 7*n)
	}
	first := civil.AddDate(0, 0, 1-civil.Day()).AddDate(0, n, 0)
	last := first.AddDate(0, 1, -1).Day()
	return first.AddDate(0, 0, min(civil.Day(), last)-1)
}
