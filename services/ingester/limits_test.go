package ingester

import (
	"net/http"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/millrace/millrace/libs/event"
)

// padded is an event of exactly n bytes.
func padded(n int) string {
	e := ev(`,"properties":{"a":""}`)
	return strings.Replace(e, `""`, `"`+strings.Repeat("x", n-len(e))+`"`, 1)
}

// spaced is a request of exactly n bytes with one small event.
func spaced(n int) string {
	e := good("u", 1)
	return e + strings.Repeat(" ", n-len(e))
}

func many(n int) string {
	return "[" + strings.Repeat(`{"event":"e","userId":"u"},`, n-1) + `{"event":"e","userId":"u"}]`
}

func TestLimitsAtAndOnePast(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	lim := event.DefaultLimits()
	gz := []string{"Content-Encoding", "gzip"}
	for _, c := range []struct {
		name     string
		body     string
		header   []string
		status   int
		accepted int
		rejected string
	}{
		{"event", padded(lim.MaxEvent), nil, 200, 1, ""},
		{"event and one", padded(lim.MaxEvent + 1), nil, 200, 0, "too_large"},
		{"request", spaced(lim.MaxRequest), nil, 200, 1, ""},
		{"request and one", spaced(lim.MaxRequest + 1), nil, 413, 0, "body_too_large"},
		{"decompressed", gzipped(t, spaced(lim.MaxRequest)), gz, 200, 1, ""},
		{"decompressed and one", gzipped(t, spaced(lim.MaxRequest+1)), gz, 413, 0, "body_too_large"},
		{"events", many(lim.MaxEvents), nil, 200, lim.MaxEvents, ""},
		{"events and one", many(lim.MaxEvents + 1), nil, 413, 0, "too_many_events"},
		{"idempotency key", good("u", 1), []string{"Idempotency-Key", strings.Repeat("k", 255)}, 200, 1, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := r.post(c.body, c.header...).want(t, c.status)
			if a.Accepted != c.accepted {
				t.Errorf("accepted %d, want %d", a.Accepted, c.accepted)
			}
			if c.status != 200 && a.Problem.Code != c.rejected {
				t.Errorf("code %s, want %s", a.Problem.Code, c.rejected)
			}
			if c.status == 200 && c.rejected != "" && (len(a.Rejected) != 1 || !strings.HasPrefix(a.Rejected[0].Reason, c.rejected+":")) {
				t.Errorf("rejected %+v", a.Rejected)
			}
			if n := len(r.fresh()); n != c.accepted+len(a.Rejected) {
				t.Errorf("%d rows", n)
			}
		})
	}
}

// TestABodyWithoutALengthIsBoundedToo: the limit holds while the bytes come.
func TestABodyWithoutALengthIsBoundedToo(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	req, err := http.NewRequest(http.MethodPost, "http://"+r.in.Addr()+pathEvents, struct{ *strings.Reader }{strings.NewReader(spaced(5 << 20))})
	if err != nil {
		t.Fatal(err)
	}
	if req.ContentLength != 0 {
		t.Fatal("the request announces its length")
	}
	req.Header.Set("X-Write-Key", testKey)
	a, err := do(req)
	if err != nil {
		t.Fatal(err)
	}
	a.want(t, http.StatusRequestEntityTooLarge)
}

// TestMaxPayloadLowersTheRequestLimit: whatever is taken must fit into one
// message, refused as a whole in the worst case.
func TestMaxPayloadLowersTheRequestLimit(t *testing.T) {
	r := startRig(t, startNATS(t, func(o *server.Options) { o.MaxPayload = 1 << 20 })).opened()
	most := 1<<20 - envelope
	if !strings.Contains(r.log.String(), "max_payload lowers the request limit") {
		t.Errorf("not said in the log:\n%s", r.log)
	}
	if got := r.in.door.lanes[0].frameBytes; got != 1<<20/growth {
		t.Errorf("frames of %d bytes", got)
	}
	r.post(spaced(most)).want(t, 200)
	r.post(spaced(most+1)).want(t, 413)
	// Bytes that no compression makes smaller.
	noise := make([]byte, most)
	x := uint64(1)
	for i := range noise {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		noise[i] = byte(x)
	}
	r.fresh()
	r.post(string(noise), "Millrace-Refused", "noise").want(t, 200)
	if rows := r.fresh(); len(rows) != 1 || rows[0].Body != string(noise) {
		t.Error("the largest body is not in RAW as it was")
	}
}

func TestAMaxPayloadThatCannotCarryAnEventEndsTheStart(t *testing.T) {
	n := startNATS(t, func(o *server.Options) { o.MaxPayload = 256 << 10 })
	r := startRig(t, n)
	<-r.in.stopping
	err := r.stop()
	if err == nil || !strings.Contains(err.Error(), "max_payload of 262144 bytes is too small") {
		t.Errorf("run: %v", err)
	}
	r.stop = func() error { return nil }
}
