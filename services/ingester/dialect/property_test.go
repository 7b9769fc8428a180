package dialect

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"

	"github.com/millrace/millrace/libs/event"
)

// names are keys that some dialect or the canonical event gives a meaning.
var names = []string{
	"userId", "user_id", "anonymousId", "name", "type", "event", "title", "url", "context", "messageId", "timestamp",
	"token", "distinct_id", "alias", "$set", "$set_once", "$group_set", "$group_type", "$group_key", "$device_id", "$is_identified",
	"$anon_distinct_id", "$insert_id", "$current_url", "$pathname", "$referrer", "$lib", "$lib_version", "$ip", "$raw_user_agent",
	"$session_id", "$screen_name", "utm_source", "$utm_medium", "utm_x", "data", "id", "source", "", "a\"b\\c", "ü\n", "\u2028",
}

// randomValue is any JSON.
func randomValue(r *rand.Rand, depth int) any {
	switch n := r.IntN(9); {
	case n == 0:
		return nil
	case n == 1:
		return r.IntN(2) == 0
	case n == 2:
		return json.Number(fmt.Sprintf("%d.%03de%d", r.IntN(1e9), r.IntN(1000), r.IntN(40)-20))
	case n == 3 && depth > 0:
		return randomObject(r, depth-1)
	case n == 4 && depth > 0:
		return []any{randomValue(r, depth-1), randomValue(r, depth-1)}
	case n == 5:
		return ""
	default:
		return fmt.Sprintf("text %d \"\\/\u2028ü\n", r.IntN(100))
	}
}

func randomObject(r *rand.Rand, depth int) map[string]any {
	object := map[string]any{}
	for range r.IntN(8) {
		key := names[r.IntN(len(names))]
		if r.IntN(3) == 0 {
			key = fmt.Sprintf("key %d", r.IntN(1000))
		}
		object[key] = randomValue(r, depth)
	}
	return object
}

func rawOf(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestNothingIsDropped sends random properties through each dialect: every key
// is found in the event with its value as it was written, under properties or
// traits; and so is every unknown key beside the properties.
func TestNothingIsDropped(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	limits := event.DefaultLimits()
	calls := []string{"order placed", "$pageview", "$screen", "$identify", "$set", "$create_alias", "$groupidentify"}
	accepted := 0
	const rounds = 3000
	for i := range rounds {
		properties := randomObject(r, 2)
		other := fmt.Sprintf("other %d", r.IntN(100))
		beside := rawOf(t, randomValue(r, 2))
		var m Mapper
		var req Request
		wanted := other
		switch i % 3 {
		case 0:
			m, req.Path = NewSegment(limits), "/v1/batch"
			req.Body = fmt.Appendf(nil, `{"batch":[{"event":"e","userId":"u","writeKey":"k","properties":%s,%q:%s}],"context":{"a":1}}`, rawOf(t, properties), other, beside)
		case 1:
			m, req.Path = NewPostHog(limits), "/batch"
			req.Body = fmt.Appendf(nil, `{"api_key":"k","batch":[{"event":%q,"distinct_id":"u","properties":%s,%q:%s}]}`, calls[r.IntN(len(calls))], rawOf(t, properties), other, beside)
		default:
			m, req.Path = NewCloudEvents(limits), "/v1/cloudevents"
			req.Body = fmt.Appendf(nil, `{"specversion":"1.0","id":"1","source":"/s","type":"t","userid":"u","data":%s,%q:%s}`, rawOf(t, properties), other, beside)
			wanted = "ce_" + other
		}
		mapped, err := m.Map(&req)
		if err != nil || len(mapped.Events) != 1 {
			t.Fatalf("seed %d: %s: %v, %d events", seed, req.Body, err, len(mapped.Events))
		}
		x := &mapped.Events[0]
		e := new(event.Event)
		refusal := x.Refusal
		if refusal == nil {
			refusal = event.NewScanner(limits).Scan(x.Canonical, e)
		}
		if refusal != nil {
			// An id of another type is refused as such, with all of the event.
			if refusal.Reason != event.ReasonBadField {
				t.Fatalf("seed %d: %s is refused: %v", seed, req.Body, refusal)
			}
			continue
		}
		accepted++
		var want event.Event
		if refusal := event.NewScanner(limits).Scan(fmt.Appendf(nil, `{"userId":"u","event":"e","properties":%s,%q:%s}`, rawOf(t, properties), other, beside), &want); refusal != nil {
			t.Fatal(refusal)
		}
		found := slices.Concat(e.Properties, e.Traits)
		for _, f := range want.Properties {
			switch key := string(f.Key); {
			case holds(found, f):
			case (key == "$set" || key == "$set_once" || key == "$group_set") && i%3 == 1 && f.Kind == event.KindObject:
				for inner, v := range properties[key].(map[string]any) {
					if !slices.ContainsFunc(e.Traits, func(f event.Field) bool { return string(f.Key) == inner }) {
						t.Fatalf("seed %d: %s lost %q of %s: %v", seed, req.Body, inner, key, v)
					}
				}
			default:
				t.Fatalf("seed %d: %s lost %q: %s", seed, req.Body, f.Key, x.Canonical)
			}
		}
		for _, f := range want.Extra {
			if string(f.Key) == other {
				f.Key = []byte(wanted)
			}
			if !holds(e.Extra, f) {
				t.Fatalf("seed %d: %s lost %q: %s", seed, req.Body, f.Key, x.Canonical)
			}
		}
	}
	if accepted < rounds/2 {
		t.Errorf("only %d of %d were accepted", accepted, rounds)
	}
}

func holds(fields []event.Field, want event.Field) bool {
	return slices.ContainsFunc(fields, func(f event.Field) bool {
		return string(f.Key) == string(want.Key) && string(f.Value) == string(want.Value) && f.Kind == want.Kind
	})
}

// TestHeaderText has what SDKs make of texts beyond ASCII.
func TestHeaderText(t *testing.T) {
	for _, c := range []struct{ sent, want string }{
		{"plain", "plain"},
		{"Zo%C3%AB%20%22x%22", `Zoë "x"`},
		{"Zo%c3%ab", "Zoë"},
		{"Zoë", "Zoë"},
		{"Zo\xeb", "Zoë"}, // cloudevents for JavaScript over fetch
		{`"Euro \"%E2%82%AC\""`, `Euro "€"`},
		{`"`, `"`},
		{`""`, ""},
		{"100%", "100%"},
		{"%4", "%4"},
		{"%zz%41", "%zzA"},
	} {
		if got := string(headerText(c.sent)); got != c.want {
			t.Errorf("%q: got %q, want %q", c.sent, got, c.want)
		}
	}
}

// TestHeadersOfNATS come with their names as they were sent.
func TestHeadersOfNATS(t *testing.T) {
	mapped, err := NewCloudEvents(event.DefaultLimits()).Map(&Request{
		Header: http.Header{"ce-id": {"1"}, "ce-source": {"/s"}, "CE-Type": {"t"}, "ce-specversion": {"1.0"}, "ce-userid": {"u"}, "content-type": {"text/plain"}},
		Body:   []byte("[1]"),
	})
	const want = `{"type":"track","event":"t","messageId":"/s 1","userId":"u","ce_id":"1","ce_source":"/s","ce_specversion":"1.0","ce_datacontenttype":"text/plain","properties":{"data":"[1]"}}`
	if err != nil || len(mapped.Events) != 1 || string(mapped.Events[0].Canonical) != want {
		t.Errorf("got %+v, %v", mapped, err)
	}
}

// TestPostHogSession holds the scanner to what this dialect leaves to it.
func TestPostHogSession(t *testing.T) {
	mapped, err := NewPostHog(event.DefaultLimits()).Map(&Request{Path: "/e", Body: []byte(`{"event":"e","distinct_id":"u","properties":{"$session_id":"s1"}}`)})
	if err != nil {
		t.Fatal(err)
	}
	e := new(event.Event)
	if r := event.NewScanner(event.DefaultLimits()).Scan(mapped.Events[0].Canonical, e); r != nil || string(e.SessionID) != "s1" {
		t.Errorf("session %q, %v", e.SessionID, r)
	}
}
