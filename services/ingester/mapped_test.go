package ingester

import (
	"errors"
	"log/slog"
	"net/http/httptest"
	"runtime"
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
			return dialect.Mapped{Events: many(one("x", padded(lim.MaxEvent)), dialect.Growth*lim.MaxRequest/lim.MaxEvent+1)}, nil
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

// TestAFaultOfAMapper: the whole body becomes a dead letter of whose it is, and is logged and counted.
func TestAFaultOfAMapper(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	for _, to := range []tongue{tongueSegment, tonguePostHog} {
		r.in.door.mappers[to] = says(func() (dialect.Mapped, error) { panic("index out of range [7]") })
	}
	refused := r.in.m.refused[doorHTTP][event.ReasonPanic]
	for i, c := range []struct {
		method, path, body, kept string
		header                   []string
	}{
		{"POST", "/v1/batch", `{"batch":[{}]}`, `{"batch":[{}]}`, []string{"X-Write-Key", testKey}},
		{"POST", "/v1/batch", gzipped(t, `no JSON`), `no JSON`, []string{"X-Write-Key", testKey}},
		{"POST", "/batch/", `{"batch":[{"event":"e"}],"api_key":"` + testKey + `"}`, `{"batch":[{"event":"e"}],"api_key":"` + testKey + `"}`, nil},
		{"GET", "/v1/pixel/page?userId=u&writeKey=" + testKey, "", "userId=u", nil},
	} {
		a := r.ask(c.method, c.path, c.body, c.header...).want(t, 200)
		rows := r.fresh()
		if len(rows) != 1 || rows[0].Reason != "panic" || rows[0].Body != c.kept || rows[0].Source != "shop" || !strings.Contains(rows[0].Detail, "index out of range [7]") {
			t.Errorf("%s: %s: %+v", c.path, a.Body, rows)
		}
		if c.method == "POST" && (a.Accepted != 0 || len(a.Rejected) != 1) {
			t.Errorf("%s: %s", c.path, a.Body)
		}
		if got := counterValue(refused); got != float64(i+1) {
			t.Errorf("%s: %v are counted", c.path, got)
		}
	}
	if log := r.log.String(); !containsLevel(log, slog.LevelError) || !strings.Contains(log, "index out of range [7]") || !strings.Contains(log, "mapped.go:") {
		t.Errorf("the log does not say where: %s", log)
	}
	r.send("/v1/batch", `{"batch":[{}]}`).want(t, 401)
	if rows := r.fresh(); len(rows) != 0 {
		t.Errorf("rows of nobody: %+v", rows)
	}
}

// TestMappingTakesMemory: a small body that becomes much is turned away while there is no memory, before it has taken it.
func TestMappingTakesMemory(t *testing.T) {
	multiplied := `{"batch":[` + strings.Repeat(`{"event":"e","userId":"u"},`, 199) + `{"event":"e","userId":"u"}],"x":"` + strings.Repeat("x", 30_000) + `"}`
	for _, c := range []struct {
		name string
		max  int64
		want error
	}{{"little", 2 << 20, errBusy}, {"enough", 64 << 20, nil}} {
		d := memoryDoor(t, 1)
		d.budget.max = c.max
		q := dialect.Request{Path: "/v1/batch", Body: []byte(multiplied)}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, spent, err := d.mapped(d.mappers[tongueSegment], &q)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, c.want) || err == nil && spent < 200*30_000 {
			t.Errorf("%s: %v, %d bytes", c.name, err, spent)
		}
		if took := int64(after.TotalAlloc - before.TotalAlloc); c.want != nil && took > c.max+1<<20 {
			t.Errorf("%s: it took %d bytes of %d", c.name, took, c.max)
		}
		if used := d.budget.used.Load(); used != spent {
			t.Errorf("%s: %d bytes are counted, %d are there", c.name, used, spent)
		}
		// A body that grows no more than most do is taken meanwhile.
		if _, _, err := d.mapped(d.mappers[tongueSegment], &dialect.Request{Path: "/v1/track", Body: []byte(good("u", 1))}); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
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
