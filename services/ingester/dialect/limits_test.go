package dialect

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/millrace/millrace/libs/event"
)

// TestABatchCannotMultiply repeats what is long in many events that are short:
// the memory for them is bounded by the request's limit, not by their product.
func TestABatchCannotMultiply(t *testing.T) {
	limits := event.DefaultLimits()
	long := strings.Repeat("x", 30_000)
	for name, c := range map[string]struct {
		m    Mapper
		body []byte
	}{
		"context": {NewSegment(limits), batchOf(`{"event":"e","userId":"u"}`, limits.MaxEvents, fmt.Sprintf(`,"context":{"a":%q}`, long))},
		"field":   {NewSegment(limits), batchOf(`{"event":"e","userId":"u"}`, limits.MaxEvents, fmt.Sprintf(`,"a":%q`, long))},
		"posthog": {NewPostHog(limits), batchOf(`{"event":"e","distinct_id":"u"}`, limits.MaxEvents, fmt.Sprintf(`,"a":%q`, long))},
	} {
		if mapped, err := c.m.Map(&Request{Path: "/v1/batch", Body: c.body}); !errors.Is(err, event.ErrTooLarge) {
			t.Errorf("%s: %d events, %v", name, len(mapped.Events), err)
		}
	}
}

// TestOneEventOverALimit is refused by itself, however it is; its neighbours
// are not.
func TestOneEventOverALimit(t *testing.T) {
	limits := event.DefaultLimits()
	deep := strings.Repeat("[", 1<<20) + strings.Repeat("]", 1<<20)
	long := fmt.Sprintf("%q", strings.Repeat("x", limits.MaxEvent))
	keys := &strings.Builder{}
	for i := range limits.MaxKeys + 1 {
		fmt.Fprintf(keys, `,"k%d":0`, i)
	}
	shapes := map[string]struct {
		m    Mapper
		good string
		body string // of three events
	}{
		"segment":     {NewSegment(limits), `{"event":"e","userId":"u","properties":{"a":%s}}`, `{"batch":[%s,%s,%s],"channel":"c"}`},
		"posthog":     {NewPostHog(limits), `{"event":"e","distinct_id":"u","properties":{"a":%s}}`, `{"batch":[%s,%s,%s],"channel":"c"}`},
		"cloudevents": {NewCloudEvents(limits), `{"specversion":"1.0","id":"1","source":"s","type":"t","subject":"u","data":{"a":%s}}`, `[%s,%s,%s]`},
	}
	for name, s := range shapes {
		for what, c := range map[string]struct {
			value string
			want  event.Reason
		}{
			"nested deep": {deep, event.ReasonTooLarge},
			"nested":      {strings.Repeat("[", 40) + strings.Repeat("]", 40), event.ReasonTooDeep},
			"long":        {long, event.ReasonTooLarge},
			"many keys":   {`{"k":0` + keys.String() + `}`, event.ReasonTooManyKeys},
		} {
			good := fmt.Sprintf(s.good, "1")
			body := fmt.Sprintf(s.body, good, fmt.Sprintf(s.good, c.value), good)
			mapped, err := s.m.Map(&Request{Path: "/v1/batch", Body: []byte(body)})
			if err != nil || len(mapped.Events) != 3 {
				t.Fatalf("%s, %s: %d events, %v", name, what, len(mapped.Events), err)
			}
			scanner, e := event.NewScanner(limits), new(event.Event)
			for i := range mapped.Events {
				x := &mapped.Events[i]
				refusal := x.Refusal
				if refusal == nil {
					refusal = scanner.Scan(x.Canonical, e)
				}
				if bad := i == 1; (refusal != nil) != bad || (bad && refusal.Reason != c.want) {
					t.Errorf("%s, %s: event %d: %v", name, what, i, refusal)
				}
			}
		}
	}
}

// TestARequestOverTheLimit is no request.
func TestARequestOverTheLimit(t *testing.T) {
	limits := event.DefaultLimits()
	limits.MaxRequest = 10
	for name, construct := range tongues {
		if _, err := construct(limits).Map(&Request{Path: "/v1/track", Body: []byte(`{"event":"e"}`)}); !errors.Is(err, event.ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTooMuchIsRefusedBeforeItIsCopied: what a small body would become costs
// no more than is granted, and nothing if it is known to be too much.
func TestTooMuchIsRefusedBeforeItIsCopied(t *testing.T) {
	limits := event.DefaultLimits()
	long := strings.Repeat("x", 32_000)
	for name, c := range map[string]struct {
		m    Mapper
		body []byte
		most int // bytes that are allocated
	}{
		"segment's field":                  {NewSegment(limits), batchOf(`{}`, limits.MaxEvents, fmt.Sprintf(`,"x":%q`, long)), 4 << 20},
		"segment's context":                {NewSegment(limits), batchOf(`{}`, limits.MaxEvents, fmt.Sprintf(`,"context":{"x":%q}`, long)), 4 << 20},
		"context beside one of the events": {NewSegment(limits), batchOf(`{"context":{}}`, limits.MaxEvents, fmt.Sprintf(`,"context":{"x":%q}`, long)), 14 << 20},
		"posthog's field":                  {NewPostHog(limits), batchOf(`{}`, limits.MaxEvents, fmt.Sprintf(`,"x":%q`, long)), 4 << 20},
	} {
		granted := 0
		r := &Request{Path: "/batch", Body: c.body, Grant: func(n int) error { granted += n; return nil }}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := c.m.Map(r)
		runtime.ReadMemStats(&after)
		took := int(after.TotalAlloc - before.TotalAlloc)
		if !errors.Is(err, event.ErrTooLarge) || took > c.most || took > granted+4<<20 {
			t.Errorf("%s: %v after %d bytes, %d were granted, want %d at most", name, err, took, granted, c.most)
		}
	}
}

// TestWhatIsNotAddedIsNotTooMuch has a batch whose field every event has itself.
func TestWhatIsNotAddedIsNotTooMuch(t *testing.T) {
	limits := event.DefaultLimits()
	rest := fmt.Sprintf(`,"x":%q`, strings.Repeat("x", 32_000))
	for name, c := range map[string]struct {
		m Mapper
		e string
	}{
		"segment": {NewSegment(limits), `{"event":"e","userId":"u","x":1}`},
		"posthog": {NewPostHog(limits), `{"event":"e","distinct_id":"u","x":1}`},
	} {
		mapped, err := c.m.Map(&Request{Path: "/batch", Body: batchOf(c.e, 1000, rest)})
		if err != nil || len(mapped.Events) != 1000 || mapped.Events[999].Refusal != nil {
			t.Errorf("%s: %d events, %v", name, len(mapped.Events), err)
		}
	}
}

// TestNoMemoryIsGranted: the request is turned away with what the grant said.
func TestNoMemoryIsGranted(t *testing.T) {
	limits := event.DefaultLimits()
	no := errors.New("no memory")
	binary := http.Header{"Ce-Specversion": {"1.0"}, "Content-Type": {"application/octet-stream"}}
	for name, c := range map[string]struct {
		m Mapper
		r Request
	}{
		"segment":           {NewSegment(limits), Request{Body: batchOf(`{}`, 2, "")}},
		"posthog":           {NewPostHog(limits), Request{Body: batchOf(`{}`, 2, "")}},
		"cloudevents":       {NewCloudEvents(limits), Request{Body: []byte(`[{},{}]`)}},
		"a large one alone": {NewCloudEvents(limits), Request{Header: binary, Body: make([]byte, limits.MaxEvent+1)}},
	} {
		c.r.Grant = func(int) error { return no }
		if mapped, err := c.m.Map(&c.r); !errors.Is(err, no) || len(mapped.Events) > 0 {
			t.Errorf("%s: %d events, %v", name, len(mapped.Events), err)
		}
	}
}

// TestALargeBinaryEventKeepsItsAttributes, unless all of it together is over
// the request's limit: what is stored must fit where a request did.
func TestALargeBinaryEventKeepsItsAttributes(t *testing.T) {
	limits := event.DefaultLimits()
	const head = `{"id":"7","specversion":"1.0",`
	for _, c := range []struct {
		kind string
		body []byte
		want string // how the original begins
	}{
		{"application/octet-stream", bytes.Repeat([]byte("x"), limits.MaxEvent+1), head + `"datacontenttype":"application/octet-stream","data_base64":"eHh4`},
		{"text/plain", bytes.Repeat([]byte{1}, limits.MaxRequest/2), head + `"datacontenttype":"text/plain","data_base64":"AQEB`},
		{"application/json", []byte(`[` + strings.Repeat(" ", limits.MaxEvent) + `]`), head + `"datacontenttype":"application/json","data":[ `},
		{"application/json", bytes.Repeat([]byte("["), limits.MaxEvent+1), head + `"datacontenttype":"application/json","data_base64":"W1tb`},
		{"application/octet-stream", bytes.Repeat([]byte("x"), limits.MaxRequest*3/4), "xxx"},
	} {
		mapped, err := NewCloudEvents(limits).Map(&Request{Header: http.Header{"Ce-Specversion": {"1.0"}, "Ce-Id": {"7"}, "Content-Type": {c.kind}}, Body: c.body})
		if err != nil || len(mapped.Events) != 1 {
			t.Fatalf("%s: %d events, %v", c.kind, len(mapped.Events), err)
		}
		x := &mapped.Events[0]
		if x.Refusal == nil || x.Refusal.Reason != event.ReasonTooLarge || !bytes.HasPrefix(x.Original, []byte(c.want)) || len(x.Original) > limits.MaxRequest {
			t.Errorf("%s: %v, %d bytes: %.100q", c.kind, x.Refusal, len(x.Original), x.Original)
		}
	}
}
