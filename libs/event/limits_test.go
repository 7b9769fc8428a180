package event

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestLimits makes an event at each limit, which is accepted, and one past it,
// which is refused for that limit.
func TestLimits(t *testing.T) {
	l := DefaultLimits()
	event := func(more string) string {
		return `{"event":"V","userId":"u"` + more + `}`
	}
	properties := func(p string) string { return event(`,"properties":{` + p + `}`) }
	size := func(n int) string {
		empty := len(properties(`"p":""`))
		return properties(`"p":"` + strings.Repeat("x", n-empty) + `"`)
	}
	keys := func(n int) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf(`"k%d":1`, i))
		}
		return strings.Join(list, ",")
	}
	x := func(n int) string { return strings.Repeat("x", n) }
	for _, c := range []struct {
		name   string
		make   func(n int) string
		limit  int
		reason Reason
	}{
		{"event", size, l.MaxEvent, ReasonTooLarge},
		{"event with white space", func(n int) string {
			return event("") + strings.Repeat(" ", n-len(event("")))
		}, l.MaxEvent, ReasonTooLarge},
		{"depth of arrays", func(n int) string {
			return event(`,"x":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1))
		}, l.MaxDepth, ReasonTooDeep},
		{"depth of objects", func(n int) string {
			return properties(`"x":` + strings.Repeat(`{"a":`, n-2) + "1" + strings.Repeat("}", n-2))
		}, l.MaxDepth, ReasonTooDeep},
		{"depth in context", func(n int) string {
			return event(`,"context":{"page":{"x":` + strings.Repeat("[", n-3) + strings.Repeat("]", n-3) + `}}`)
		}, l.MaxDepth, ReasonTooDeep},
		{"keys of properties", func(n int) string { return properties(keys(n - 3)) }, l.MaxKeys, ReasonTooManyKeys},
		{"keys at the top", func(n int) string { return event("," + keys(n-2)) }, l.MaxKeys, ReasonTooManyKeys},
		{"keys of nested objects", func(n int) string {
			return properties(`"x":{` + keys(500) + `},"y":[{` + keys(n-505) + `}]`)
		}, l.MaxKeys, ReasonTooManyKeys},
		{"keys of context", func(n int) string {
			return event(`,"context":{` + keys(400) + `,"page":{` + keys(n-404) + `}}`)
		}, l.MaxKeys, ReasonTooManyKeys},
		{"key", func(n int) string { return properties(`"` + x(n) + `":1`) }, l.MaxKey, ReasonKeyTooLong},
		{"key at the top", func(n int) string { return event(`,"` + x(n) + `":1`) }, l.MaxKey, ReasonKeyTooLong},
		{"nested key", func(n int) string { return properties(`"a":{"` + x(n) + `":1}`) }, l.MaxKey, ReasonKeyTooLong},
		{"user id", func(n int) string { return `{"event":"V","userId":"` + x(n) + `"}` }, l.MaxID, ReasonIDTooLong},
		{"anonymous id", func(n int) string { return event(`,"anonymousId":"` + x(n) + `"`) }, l.MaxID, ReasonIDTooLong},
		{"message id", func(n int) string { return event(`,"messageId":"` + x(n) + `"`) }, l.MaxID, ReasonIDTooLong},
		{"message id of a number", func(n int) string {
			return event(`,"messageId":` + strings.Repeat("7", n))
		}, l.MaxID, ReasonIDTooLong},
		{"escaped id", func(n int) string {
			return event(`,"groupId":"` + strings.Repeat(`\u0061`, n) + `"`)
		}, l.MaxID, ReasonIDTooLong},
		{"previous id", func(n int) string { return event(`,"previousId":"` + x(n) + `"`) }, l.MaxID, ReasonIDTooLong},
		{"session id", func(n int) string { return event(`,"sessionId":"` + x(n) + `"`) }, l.MaxID, ReasonIDTooLong},
		{"event name", func(n int) string { return `{"userId":"u","event":"` + x(n) + `"}` }, l.MaxName, ReasonNameTooLong},
		{"page name", func(n int) string {
			return `{"userId":"u","type":"page","name":"` + x(n) + `"}`
		}, l.MaxName, ReasonNameTooLong},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, e := NewScanner(l), new(Event)
			if r := s.Scan([]byte(c.make(c.limit)), e); r != nil {
				t.Errorf("refused at the limit of %d: %v", c.limit, r)
			}
			r := s.Scan([]byte(c.make(c.limit+1)), e)
			if r == nil || r.Reason != c.reason {
				t.Errorf("one past the limit of %d: got %v, want %s", c.limit, r, c.reason)
			}
		})
	}
}

// A session id that comes from where SDKs keep it is a property first: too
// long for the column, it does not refuse the event.
func TestLongSessionProperty(t *testing.T) {
	s, e := NewScanner(DefaultLimits()), new(Event)
	long := strings.Repeat("x", DefaultLimits().MaxID+1)
	r := s.Scan([]byte(`{"event":"V","userId":"u","properties":{"$session_id":"`+long+`"},"context":{"sessionId":"short"}}`), e)
	if r != nil || string(e.SessionID) != "short" || string(e.Properties[0].Value) != long {
		t.Errorf("got %v, session %q", r, e.SessionID)
	}
}

func TestLimitsOfRequest(t *testing.T) {
	l := DefaultLimits()
	count := 0
	split := func(body string, ndjson bool) error {
		count = 0
		_, err := NewSplitter(l).Split([]byte(body), ndjson, func(int, []byte, *Refusal) error {
			count++
			return nil
		})
		return err
	}
	array := func(n int) string { return "[" + strings.Repeat("{},", n-1) + "{}]" }
	lines := func(n int) string { return strings.Repeat("{}\n", n) }
	for _, c := range []struct {
		name string
		make func(int) string
		nd   bool
	}{{"array", array, false}, {"values", lines, false}, {"ndjson", lines, true}} {
		if err := split(c.make(l.MaxEvents), c.nd); err != nil || count != l.MaxEvents {
			t.Errorf("%s: %d events: got %d, %v", c.name, l.MaxEvents, count, err)
		}
		if err := split(c.make(l.MaxEvents+1), c.nd); !errors.Is(err, ErrTooManyEvents) || count != 0 {
			t.Errorf("%s: %d events: got %d, %v", c.name, l.MaxEvents+1, count, err)
		}
	}
	body := func(n int) string { return "{}" + strings.Repeat(" ", n-2) }
	if err := split(body(l.MaxRequest), false); err != nil || count != 1 {
		t.Errorf("body of %d bytes: got %d, %v", l.MaxRequest, count, err)
	}
	if err := split(body(l.MaxRequest+1), false); !errors.Is(err, ErrTooLarge) || count != 0 {
		t.Errorf("body of %d bytes: got %d, %v", l.MaxRequest+1, count, err)
	}
}

func TestLimitsValidate(t *testing.T) {
	if err := DefaultLimits().Validate(); err != nil {
		t.Error(err)
	}
	for _, change := range []func(*Limits){
		func(l *Limits) { *l = Limits{} },
		func(l *Limits) { l.MaxRequest = 0 },
		func(l *Limits) { l.MaxEvents = 0 },
		func(l *Limits) { l.MaxEvent = 1 },
		func(l *Limits) { l.MaxEvent = l.MaxRequest + 1 },
		func(l *Limits) { l.MaxDepth = minDepth - 1 },
		func(l *Limits) { l.MaxKeys = 0 },
		func(l *Limits) { l.MaxKey = -1 },
		func(l *Limits) { l.MaxID = 0 },
		func(l *Limits) { l.MaxName = 0 },
	} {
		l := DefaultLimits()
		change(&l)
		if l.Validate() == nil {
			t.Errorf("%+v is accepted", l)
		}
	}
}
