package ingester

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/libs/event"
	"github.com/millrace/millrace/services/ingester/dialect"
)

// says is a mapper that says the same about every body.
type says func() (dialect.Mapped, error)

func (s says) Map(*dialect.Request) (dialect.Mapped, error) { return s() }

// TestWhatAMapperMayDo: whatever a mapper says, or does, the door's own rules hold.
func TestWhatAMapperMayDo(t *testing.T) {
	lim := event.DefaultLimits()
	one := func(original, canonical string) dialect.Event {
		return dialect.Event{Original: []byte(original), Canonical: []byte(canonical)}
	}
	many := func(e dialect.Event, n int) []dialect.Event { return slices.Repeat([]dialect.Event{e}, n) }
	for _, c := range []struct {
		name   string
		m      says
		err    string // code of the problem
		rows   int
		reason string // of the first row
		sentAt int64
	}{
		{"an event", func() (dialect.Mapped, error) {
			return dialect.Mapped{SentAt: 5, Events: many(one("x", good("u", 1)), 1)}, nil
		}, "", 1, "", 5},
		{"a fault", func() (dialect.Mapped, error) { panic("index out of range") }, "unreadable_body", 0, "", 0},
		{"no JSON", func() (dialect.Mapped, error) { return dialect.Mapped{Events: many(one("x", "{"), 1)}, nil }, "", 1, "malformed", 0},
		{"nothing", func() (dialect.Mapped, error) { return dialect.Mapped{Events: many(one("x", ""), 1)}, nil }, "", 1, "malformed", 0},
		{"a list", func() (dialect.Mapped, error) {
			return dialect.Mapped{Events: many(one("x", "["+good("u", 1)+","+good("u", 2)+"]"), 1)}, nil
		}, "", 1, "not_an_object", 0},
		{"an original over the limit", func() (dialect.Mapped, error) {
			return dialect.Mapped{Events: many(one(padded(lim.MaxEvent+1), good("u", 1)), 1)}, nil
		}, "", 1, "too_large", 0},
		{"an original at the limit", func() (dialect.Mapped, error) {
			return dialect.Mapped{Events: many(one(padded(lim.MaxEvent), good("u", 1)), 1)}, nil
		}, "", 1, "", 0},
		{"a canonical event over the limit", func() (dialect.Mapped, error) {
			return dialect.Mapped{Events: many(one("x", padded(lim.MaxEvent+1)), 1)}, nil
		}, "", 1, "too_large", 0},
		{"as many events as may be", func() (dialect.Mapped, error) {
			return dialect.Mapped{Events: many(one("x", good("u", 1)), lim.MaxEvents)}, nil
		}, "", lim.MaxEvents, "", 0},
		{"one more", func() (dialect.Mapped, error) {
			return dialect.Mapped{Events: many(one("x", good("u", 1)), lim.MaxEvents+1)}, nil
		}, "too_many_events", 0, "", 0},
		{"much larger than the body", func() (dialect.Mapped, error) {
			return dialect.Mapped{Events: many(one("x", padded(lim.MaxEvent)), maxGrowth*lim.MaxRequest/lim.MaxEvent+1)}, nil
		}, "body_too_large", 0, "", 0},
		{"the last time that is one", func() (dialect.Mapped, error) {
			return dialect.Mapped{SentAt: maxSentAt, Events: many(one("x", good("u", 1)), 1)}, nil
		}, "", 1, "", maxSentAt},
		{"a time that is none", func() (dialect.Mapped, error) {
			return dialect.Mapped{SentAt: maxSentAt + 1, Events: many(one("x", good("u", 1)), 1)}, nil
		}, "", 1, "", 0},
		{"no events", func() (dialect.Mapped, error) { return dialect.Mapped{}, nil }, "", 0, "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := memoryDoor(t, 1)
			a := asked{r: httptest.NewRequest("POST", "/v1/batch", strings.NewReader("{}")), mapper: c.m, from: origin{door: doorHTTP, source: "shop"}}
			h, err := d.store(&a)
			rows := d.drained(t)
			switch {
			case err != nil && problemOf(err).Code != c.err, err == nil && c.err != "":
				t.Fatalf("%v, want %q", err, c.err)
			case err == nil:
				<-h.done
			}
			if len(rows) != c.rows || len(rows) > 0 && rows[0].Reason != c.reason || len(rows) > 0 && rows[0].SentAt != c.sentAt {
				t.Fatalf("%d rows: %.300v", len(rows), rows)
			}
			if c.reason != "" && c.rows == 1 && rows[0].Body != "x" && len(rows[0].Body) != lim.MaxEvent+1 {
				t.Errorf("the original is not kept: %.100q", rows[0].Body)
			}
			if used := d.budget.used.Load(); used != 0 {
				t.Errorf("%d bytes are not given back", used)
			}
		})
	}
}

// TestAFaultOfAMapperOverNATS: the message would come again and again, so it becomes a dead letter.
func TestAFaultOfAMapperOverNATS(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	r.in.door.mappers = mappers{tongueCloudEvents: says(func() (dialect.Mapped, error) { panic("nil pointer") })}
	r.publish("web", "{}", "Content-Type", "application/cloudevents+json")
	eventually(t, "acknowledged", r.inEmpty)
	if rows := r.fresh(); len(rows) != 1 || rows[0].Reason != "panic" || rows[0].Body != "{}" {
		t.Errorf("%+v", rows)
	}
}
