package dialect

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/millrace/millrace/libs/event"
)

// fuzzLimits are low, so that the fuzzer reaches them.
func fuzzLimits() event.Limits {
	l := event.DefaultLimits()
	l.MaxRequest, l.MaxEvents, l.MaxEvent, l.MaxKeys, l.MaxID = 16<<10, 20, 2<<10, 40, 64
	return l
}

func FuzzSegment(f *testing.F) {
	fuzz(f, "segment", NewSegment, []string{"properties", "event_data", "traits", "context"}, func(r *Request) []byte {
		data, _, _ := pixelBody(r)
		return data
	})
}

func FuzzPostHog(f *testing.F) {
	fuzz(f, "posthog", NewPostHog, []string{"properties"}, func(r *Request) []byte {
		data, _, _ := posthogBody(r)
		return data
	})
}

func FuzzCloudEvents(f *testing.F) {
	fuzz(f, "cloudevents", NewCloudEvents, []string{"data"}, func(r *Request) []byte { return r.Body })
}

// fuzz holds a dialect to what every one of them promises. inner are the fields
// of an event whose keys are columns' keys, decoded is what the events of a
// request are parts of.
func fuzz(f *testing.F, dialect string, construct func(event.Limits) Mapper, inner []string, decoded func(*Request) []byte) {
	goldens(f, dialect, func(_ *testing.T, _ string, _ *txtar.Archive, r *Request) {
		var header strings.Builder
		for name, values := range r.Header {
			for _, v := range values {
				header.WriteString(name + ": " + v + "\n")
			}
		}
		f.Add(r.Path, r.Query.Encode(), header.String(), r.Body, r.Body == nil)
	})
	limits := fuzzLimits()
	used := construct(limits)
	scanner, e := event.NewScanner(limits), new(event.Event)
	f.Fuzz(func(t *testing.T, path, query, header string, body []byte, get bool) {
		r := &Request{Path: path, Header: http.Header{}, Body: slices.Concat([]byte{}, body)}
		r.Query, _ = url.ParseQuery(query)
		for line := range strings.Lines(header) {
			name, v, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			r.Header.Add(name, v)
		}
		if get {
			r.Body = nil
		}
		mapped, err := used.Map(r)
		if !get && !bytes.Equal(r.Body, body) {
			t.Fatal("the body was changed")
		}
		// A mapper that has seen other requests says the same as a fresh one.
		again, errAgain := construct(limits).Map(r)
		if !reflect.DeepEqual(mapped, again) || !reflect.DeepEqual(err, errAgain) {
			t.Fatalf("first %+v, %v\nthen %+v, %v", mapped, err, again, errAgain)
		}
		if err != nil {
			if _, ok := errors.AsType[*event.SyntaxError](err); !ok && !errors.Is(err, event.ErrTooLarge) && !errors.Is(err, event.ErrTooManyEvents) {
				t.Fatalf("an error of another kind: %v", err)
			}
			if len(mapped.Events) > 0 {
				t.Fatal("events beside an error")
			}
			return
		}
		data, built := decoded(r), 0
		for i := range mapped.Events {
			x := &mapped.Events[i]
			if (x.Canonical == nil) == (x.Refusal == nil) || len(x.Original) == 0 {
				t.Fatalf("neither accepted nor refused, or both, or of nothing: %+v", x)
			}
			if made := dialect == "cloudevents" && len(mapped.Events) == 1; !bytes.Contains(data, x.Original) && (!made || !json.Valid(x.Original)) {
				t.Fatalf("%q is no part of %q", x.Original, data)
			}
			if x.Refusal != nil {
				if !x.Refusal.Reason.Valid() {
					t.Fatalf("unknown reason %q", x.Refusal.Reason)
				}
				continue
			}
			if !json.Valid(x.Canonical) || event.KindOf(x.Canonical) != event.KindObject {
				t.Fatalf("%q became %q, no JSON object", x.Original, x.Canonical)
			}
			if most := 3*len(x.Original) + len(data) + 512; len(x.Canonical) > most || len(x.Canonical) > limits.MaxEvent {
				t.Fatalf("%q became %q, %d bytes", x.Original, x.Canonical, len(x.Canonical))
			}
			built += len(x.Canonical)
			if scanner.Scan(x.Canonical, e) != nil {
				continue
			}
			if key := repeated(x.Original, inner); key != "" {
				t.Fatalf("%q is accepted as %q, though %q occurs twice", x.Original, x.Canonical, key)
			}
			if dialect == "segment" && holdsKey(x.Canonical) {
				t.Fatalf("%q holds a write key", x.Canonical)
			}
		}
		if built > (Growth+1)*limits.MaxRequest {
			t.Fatalf("%d bytes of events of %d bytes", built, len(data))
		}
	})
}

// holdsKey says whether an event has a write key at its top.
func holdsKey(canonical []byte) bool {
	var top map[string]json.RawMessage
	return json.Unmarshal(canonical, &top) == nil && (top["writeKey"] != nil || top["write_key"] != nil)
}

// repeated returns a key that the event, or one of its inner fields, has twice.
func repeated(original []byte, inner []string) string {
	var c event.Cursor
	c.Reset(original)
	seen := map[string]bool{}
	for c.Enter(); c.Next(); {
		key := string(c.Key())
		if seen[key] {
			return key
		}
		seen[key] = true
		if !slices.Contains(inner, key) || c.Kind() != event.KindObject {
			continue
		}
		inside := map[string]bool{}
		for c.Enter(); c.Next(); {
			if inside[string(c.Key())] {
				return key + "." + string(c.Key())
			}
			inside[string(c.Key())] = true
		}
	}
	return ""
}
