package failpoint

import "time"

// Due says whether every has gone by since last, which is zero for never. A
// time that is still to come says that the clock was set back: then it is due as
// well, or what is done every second would wait until the clock has caught up.
func Due(last time.Time, every time.Duration) bool {
	gone := Since(last)
	return gone >= every || gone < 0
}

// Left is how long it is until t, which lies at most `most` ahead unless the
// clock was set back since it was chosen.
func Left(t time.Time, most time.Duration) time.Duration { return min(Until(t), most) }
