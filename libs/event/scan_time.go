package event

// The range of a time in an event, in milliseconds since 1970-01-01 UTC: what
// a ClickHouse DateTime64(3) holds, 1900-01-01 to 2299-12-31T23:59:59.999.
const (
	MinTime int64 = -2208988800000
	MaxTime int64 = 10413791999999
)

// ParseTime reads an RFC 3339 time and the variants that clients send, and
// returns milliseconds since 1970-01-01 UTC, rounded down.
//
// Variants: the date alone is midnight; a missing zone is UTC; a space or a
// small t between date and time; seconds left out; one to nine digits of
// fraction; a small z; an offset as +hh:mm, +hhmm or +hh. A leap second is the
// second after it. Times outside MinTime to MaxTime are not ok.
func ParseTime(s []byte) (ms int64, ok bool) {
	if len(s) < 10 || s[4] != '-' || s[7] != '-' {
		return 0, false
	}
	year, ok1 := digits2(s, 0)
	year2, ok2 := digits2(s, 2)
	month, ok3 := digits2(s, 5)
	day, ok4 := digits2(s, 8)
	year = year*100 + year2
	if !ok1 || !ok2 || !ok3 || !ok4 || month < 1 || month > 12 || day < 1 || day > daysIn(year, month) {
		return 0, false
	}
	ms = daysSince1970(year, month, day) * 86_400_000
	leap := false
	if len(s) > 10 {
		clock, offset, second60, ok := parseClock(s[10:])
		if !ok {
			return 0, false
		}
		ms += clock - offset
		leap = second60
	}
	// A leap second is inserted before midnight UTC and nowhere else; the sum
	// above has carried it to the first second of the next day.
	if leap && mod(ms, 86_400_000) >= 1000 {
		return 0, false
	}
	if ms < MinTime || ms > MaxTime {
		return 0, false
	}
	return ms, true
}

// parseClock reads what follows the date: the time of day and the offset from
// UTC, both in milliseconds.
func parseClock(s []byte) (clock, offset int64, leap, ok bool) {
	if len(s) < 6 || (s[0] != 'T' && s[0] != 't' && s[0] != ' ') || s[3] != ':' {
		return 0, 0, false, false
	}
	hour, ok1 := digits2(s, 1)
	minute, ok2 := digits2(s, 4)
	if !ok1 || !ok2 || hour > 23 || minute > 59 {
		return 0, 0, false, false
	}
	clock = int64(hour)*3_600_000 + int64(minute)*60_000
	s = s[6:]
	if len(s) > 0 && s[0] == ':' {
		second, ok := digits2(s, 1)
		if !ok || second > 60 {
			return 0, 0, false, false
		}
		leap = second == 60
		clock += int64(second) * 1000
		s = s[3:]
		if len(s) > 0 && s[0] == '.' {
			var fraction int64
			n := 1
			for unit := int64(100); n < len(s) && s[n]-'0' <= 9; n++ {
				fraction += int64(s[n]-'0') * unit
				unit /= 10
			}
			if n < 2 || n > 10 {
				return 0, 0, false, false
			}
			clock += fraction
			s = s[n:]
		}
	}
	offset, ok = parseOffset(s)
	return clock, offset, leap, ok
}

// parseOffset reads the zone: none, z, +hh, +hhmm or +hh:mm.
func parseOffset(s []byte) (ms int64, ok bool) {
	if len(s) == 0 || (len(s) == 1 && s[0]|0x20 == 'z') {
		return 0, true
	}
	sign := int64(1)
	switch s[0] {
	case '+':
	case '-':
		sign = -1
	default:
		return 0, false
	}
	hour, ok := digits2(s, 1)
	if !ok || hour > 23 {
		return 0, false
	}
	minute := 0
	switch {
	case len(s) == 3:
	case len(s) == 5:
		minute, ok = digits2(s, 3)
	case len(s) == 6 && s[3] == ':':
		minute, ok = digits2(s, 4)
	default:
		return 0, false
	}
	if !ok || minute > 59 {
		return 0, false
	}
	return sign * (int64(hour)*3_600_000 + int64(minute)*60_000), true
}

// digits2 reads two decimal digits at s[i].
func digits2(s []byte, i int) (int, bool) {
	if i+2 > len(s) {
		return 0, false
	}
	tens, ones := s[i]-'0', s[i+1]-'0'
	return int(tens)*10 + int(ones), tens <= 9 && ones <= 9
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// daysSince1970 counts days in the proleptic Gregorian calendar. Years are
// counted from March, so that the leap day is a year's last.
func daysSince1970(year, month, day int) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	// 153 days are five months from March on; the years' leap days follow.
	days := 365*year + year/4 - year/100 + year/400 + (153*(month-3)+2)/5 + day - 1
	return int64(days) - 719_468 // days from 0000-03-01 to 1970-01-01
}

func mod(a, b int64) int64 {
	return ((a % b) + b) % b
}
