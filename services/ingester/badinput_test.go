package ingester

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// ev is an event of user u with further fields.
func ev(fields string) string { return `{"event":"e","userId":"u"` + fields + `}` }

func keys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `%s"k%d":1`, map[bool]string{true: ","}[i > 0], i)
	}
	return b.String()
}

// TestBadEventsLeaveTheirNeighboursAlone sends every strange event between
// two good ones: its reason is named, its bytes are kept, and the neighbours
// are taken. An empty reason means that it is an event like others.
func TestBadEventsLeaveTheirNeighboursAlone(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	for _, c := range []struct {
		name, event, reason string
	}{
		{"null", `null`, "not_an_object"},
		{"a bare string", `"order"`, "not_an_object"},
		{"a number", `7`, "not_an_object"},
		{"a list", `[1,2]`, "not_an_object"},
		{"an empty object", `{}`, "no_user"},
		{"no user", `{"event":"e"}`, "no_user"},
		{"empty user", `{"event":"e","userId":""}`, "no_user"},
		{"no name", `{"userId":"u"}`, "no_event"},
		{"unknown type", ev(`,"type":"sing"`), "bad_type"},
		{"user is a list", `{"event":"e","userId":[]}`, "bad_field"},
		{"invalid utf-8", ev(`,"properties":{"a":"` + "\xff\xfe" + `"}`), "invalid_utf8"},
		{"half a surrogate pair", ev(`,"properties":{"a":"\ud800"}`), "invalid_utf8"},
		{"duplicate key", ev(`,"properties":{"a":1,"a":2}`), "duplicate_key"},
		{"duplicate field", `{"event":"e","userId":"u","userId":"v"}`, "duplicate_key"},
		{"dotted and nested key", ev(`,"properties":{"a.b":1,"a":{"b":2}}`), ""},
		{"past 2^53", ev(`,"properties":{"a":9007199254740993,"b":123456789012345678901234567890}`), ""},
		{"1e400", ev(`,"properties":{"a":1e400}`), ""},
		{"nesting of 10^5", ev(`,"properties":{"a":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`), "too_deep"},
		{"key of 10 KiB", ev(`,"properties":{"` + strings.Repeat("k", 10<<10) + `":1}`), "key_too_long"},
		{"too many keys", ev(`,"properties":{` + keys(1_500) + `}`), "too_many_keys"},
		{"year 0", ev(`,"timestamp":"0000-01-01T00:00:00Z"`), "bad_timestamp"},
		{"year 9999", ev(`,"timestamp":"9999-01-01T00:00:00Z"`), "bad_timestamp"},
		{"time of a wrong type", ev(`,"timestamp":{}`), "bad_timestamp"},
		{"future", ev(`,"timestamp":"2299-12-31T23:59:59.999Z"`), ""},
		{"very old", ev(`,"timestamp":"1900-01-01T00:00:00Z"`), ""},
		{"NUL", ev(`,"properties":{"a":"x\u0000y"}`), ""},
		{"right to left", ev(`,"properties":{"a":"שלום مرحبا"}`), ""},
		{"emoji", ev(`,"properties":{"👍🏽":"👩‍👩‍👧"}`), ""},
		{"long id", `{"event":"e","userId":"` + strings.Repeat("u", 300) + `"}`, "id_too_long"},
		{"long name", `{"userId":"u","event":"` + strings.Repeat("e", 300) + `"}`, "name_too_long"},
		{"too large", ev(`,"properties":{"a":"` + strings.Repeat("x", 33<<10) + `"}`), "too_large"},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := []string{c.event, good("u1", 1), good("u2", 2)}
			slices.Sort(want)
			a := r.post("["+good("u1", 1)+","+c.event+","+good("u2", 2)+"]").want(t, http.StatusOK)
			reason := ""
			if len(a.Rejected) > 0 {
				reason, _, _ = strings.Cut(a.Rejected[0].Reason, ":")
				if a.Rejected[0].Index != 1 || len(a.Rejected) > 1 {
					t.Errorf("rejected %+v", a.Rejected)
				}
			}
			if reason != c.reason || a.Accepted+len(a.Rejected) != 3 {
				t.Errorf("answer %s, want reason %q", a.Body, c.reason)
			}
			if !utf8.Valid(a.Body) {
				t.Errorf("answer is not UTF-8: %q", a.Body)
			}
			rows := r.fresh()
			if got := bodies(rows); !slices.Equal(got, want) {
				t.Errorf("RAW has %.200q, want %.200q", got, want)
			}
			for _, row := range rows {
				if row.Body == c.event && row.Reason != c.reason || row.Body != c.event && row.Reason != "" {
					t.Errorf("row %.200q has reason %q", row.Body, row.Reason)
				}
			}
		})
	}
}

// TestMalformedLines: in NDJSON a line that is no JSON is an event that is
// refused, and its bytes are kept as they came.
func TestMalformedLines(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	lines := []string{
		good("u1", 1), `{"broken":`, `not json`, ev(`,"properties":{"a":NaN}`), "\xff\x00", `null`,
		strings.Repeat("[", 100_000), strings.Repeat("x", 40<<10), good("u2", 2),
	}
	a := r.post(strings.Join(lines, "\n"), "Content-Type", "application/x-ndjson; charset=utf-8").want(t, http.StatusOK)
	var codes []string
	for _, rej := range a.Rejected {
		code, _, _ := strings.Cut(rej.Reason, ":")
		codes = append(codes, fmt.Sprint(rej.Index, code))
	}
	want := []string{"1malformed", "2malformed", "3malformed", "4malformed", "5not_an_object", "6too_large", "7too_large"}
	if a.Accepted != 2 || !slices.Equal(codes, want) {
		t.Errorf("accepted %d, rejected %v, want %v", a.Accepted, codes, want)
	}
	slices.Sort(lines)
	if got := bodies(r.fresh()); !slices.Equal(got, lines) {
		t.Errorf("RAW has %.80q", got)
	}
}

func TestUnreadableBodiesStoreNothing(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	deep := strings.Repeat("[", 100_000)
	for _, c := range []struct {
		name, body string
		header     []string
		status     int
		code       string
	}{
		{"empty", "", nil, 400, "unreadable_body"},
		{"white space", " \n\t ", nil, 400, "unreadable_body"},
		{"empty ndjson", "\n\n", []string{"Content-Type", "application/x-ndjson"}, 400, "unreadable_body"},
		{"cut off", `{"event":"e","userId":"u"`, nil, 400, "unreadable_body"},
		{"cut off array", "[" + good("u", 1) + ",", nil, 400, "unreadable_body"},
		{"good before bad", "[" + good("u", 1) + `,{"a":}]`, nil, 400, "unreadable_body"},
		{"NaN", `{"event":"e","userId":"u","properties":{"a":NaN}}`, nil, 400, "unreadable_body"},
		{"text", "hello", nil, 400, "unreadable_body"},
		{"invalid utf-8", "\xff\xfe", nil, 400, "unreadable_body"},
		{"10^5 open lists", deep, nil, 400, "unreadable_body"},
		{"10 MiB", strings.Repeat(" ", 10<<20), nil, 413, "body_too_large"},
		{"gzip bomb", gzipped(t, strings.Repeat("[", 64<<20)), []string{"Content-Encoding", "gzip"}, 413, "body_too_large"},
		{"zstd bomb nobody announced", zstded(t, strings.Repeat(" ", 64<<20)), nil, 413, "body_too_large"},
		{"broken gzip", gzipped(t, good("u", 1))[:30], []string{"Content-Encoding", "gzip"}, 400, "broken_encoding"},
		{"neither gzip nor text", "\x00\x01", []string{"Content-Encoding", "gzip"}, 400, "broken_encoding"},
		{"unknown encoding", "\x0b\x02\x80", []string{"Content-Encoding", "br"}, 400, "unknown_encoding"},
		{"two encodings", gzipped(t, gzipped(t, good("u", 1))), []string{"Content-Encoding", "gzip, gzip"}, 400, "unreadable_body"},
		{"bad idempotency key", good("u", 1), []string{"Idempotency-Key", strings.Repeat("k", 256)}, 400, "bad_idempotency_key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := r.post(c.body, c.header...).want(t, c.status)
			if a.Problem.Code != c.code || a.Problem.Status != c.status || a.Problem.Detail == "" || a.Problem.Title == "" || a.Problem.Type == "" {
				t.Errorf("problem %s", a.Body)
			}
			if (a.Problem.Offset != nil) != (c.code == "unreadable_body") {
				t.Errorf("position is missing, or there is one: %s", a.Body)
			}
			if rows := r.fresh(); len(rows) != 0 {
				t.Errorf("stored %d rows", len(rows))
			}
		})
	}
	a := r.post("{\n\"a\": ?}").want(t, 400)
	if *a.Problem.Offset != 7 || *a.Problem.Line != 2 {
		t.Errorf("position %s", a.Body)
	}
	if used := r.in.budget.used.Load(); used != 0 {
		t.Errorf("%d bytes are still counted as in flight", used)
	}
	r.post(good("u", 1)).want(t, 200)
}
