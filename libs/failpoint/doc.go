// Package failpoint marks the places at which a test may kill, stop, delay or
// mislead a process: before and after the arrows of the protocol. Two have none
// of their own: the compare-and-set of a lease, which may be lost at any time
// anyhow, and the insert by which an audit brings rows back, which passes those
// of every insert.
//
// In a release build, that is without the build tag failpoint, all of it is
// empty and inlined: [At] does nothing, [Error] is nil, [Now] is time.Now, and
// no point's name is in the binary.
//
// With the tag, points are armed from the environment,
//
//	MILLRACE_FAILPOINTS="indexer.insert.after=kill@3,enricher.publish.before=stop"
//
// each for one of its passages, the first unless @n says the n-th:
//
//	kill      the process ends by SIGKILL
//	stop      the process stops by SIGSTOP, until somebody sends SIGCONT
//	sleep:2s  the goroutine waits
//	error     the step fails; at an after point its effect is there, and only
//	          the reply was lost. Only where the code asks [Error].
//
// A name or action that does not exist ends the process at once. What a point
// does is told on standard error, on a line that begins with "failpoint".
//
// With the tag the clock can be set, too: MILLRACE_CLOCK_FILE names a file that
// holds a Go duration ("-1h"), which is added to the clock's time. [Now] then has
// no monotonic reading, so that durations jump as they do for a machine whose
// clock was set. The file is read again every 50 ms at most.
package failpoint
