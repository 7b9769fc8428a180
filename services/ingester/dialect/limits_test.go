package dialect

import (
	"errors"
	"fmt"
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
