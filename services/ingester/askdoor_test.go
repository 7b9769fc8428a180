package ingester

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/millrace/millrace/libs/bus"
)

// request asks an ingester to store a body over core NATS; header is pairs of names and values.
func (r *rig) request(source, body string, status int, header ...string) answer {
	r.t.Helper()
	msg := nats.NewMsg(r.names.Door(source))
	msg.Data = []byte(body)
	for i := 0; i < len(header); i += 2 {
		msg.Header.Set(header[i], header[i+1])
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
	defer cancel()
	reply, err := r.nc.RequestMsgWithContext(ctx, msg)
	if err != nil {
		r.t.Fatal(err)
	}
	a := answer{Body: reply.Data}
	if a.Status, err = strconv.Atoi(reply.Header.Get(bus.HeaderStatus)); err != nil {
		r.t.Fatalf("%v: %s", reply.Header, reply.Data)
	}
	into := any(&a)
	if a.Status != 200 {
		into = &a.Problem
	}
	if err := json.Unmarshal(reply.Data, into); err != nil {
		r.t.Fatal(err)
	}
	return a.want(r.t, status)
}

// TestRequests: what HTTP would answer, and what HTTP would store.
func TestRequests(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	// Somebody waits: an hour of lingering would end this test.
	a := r.request("shop", good("u", 1), 200, bus.HeaderClientIP, "203.0.113.9", bus.HeaderUserAgent, "a browser")
	rows := r.fresh()
	if len(rows) != 1 || a.Accepted != 1 || a.Receipt != receiptOf(rows) {
		t.Fatalf("%+v, receipt %s", rows, a.Receipt)
	}
	if x := rows[0]; x.Source != "shop" || x.Door != doorAsk || x.IP != "203.0.113.9" || x.UserAgent != "a browser" || x.Body != good("u", 1) || len(x.ID) != idLen {
		t.Errorf("%+v", x)
	}
	a = r.request("shop", `[`+good("a", 1)+`,{"type":"nonsense","userId":"a"},`+good("b", 2)+`]`, 200)
	if rows = r.fresh(); a.Accepted != 2 || len(a.Rejected) != 1 || a.Rejected[0].Index != 1 || a.Receipt != receiptOf(rows) || len(rows) != 3 {
		t.Errorf("%+v: %+v", a, rows)
	}
	r.request("shop", string(gzipped(t, good("z", 1))), 200, "content-encoding", "gzip")
	first := r.request("shop", good("k", 1), 200, "Idempotency-Key", "key")
	again := r.request("shop", good("k", 1), 200, "Idempotency-Key", "key")
	rows = r.fresh()
	if len(rows) != 3 || rows[len(rows)-1].ID != rows[len(rows)-2].ID && rows[0].ID != rows[1].ID && rows[0].ID != rows[2].ID || first.Receipt == again.Receipt {
		t.Errorf("a repeat: %+v", rows)
	}

	for body, want := range map[string]string{"": "unreadable_body", "{": "unreadable_body", strings.Repeat("x", r.in.door.limits.MaxRequest+1): "body_too_large"} {
		status := 400
		if want == "body_too_large" {
			status = 413
		}
		if a := r.request("shop", body, status); a.Problem.Code != want {
			t.Errorf("%.20q: %+v", body, a.Problem)
		}
	}
	if a := r.request("a%b", good("u", 1), 404); a.Problem.Code != "not_found" {
		t.Errorf("a source that cannot be one: %+v", a.Problem)
	}
	if a := r.request("shop", good("u", 1), 400, "Idempotency-Key", strings.Repeat("k", maxKey+1)); a.Problem.Code != "bad_idempotency_key" {
		t.Errorf("a key that cannot be one: %+v", a.Problem)
	}
	if rows := r.fresh(); len(rows) != 0 {
		t.Errorf("what was refused as a whole is stored: %+v", rows)
	}
}

// TestRequestsDoNotLinger: they leave with what is there, those of others included, whose frame would have waited.
func TestRequestsDoNotLinger(t *testing.T) {
	r := startRig(t, startNATS(t), func(c *Config) { c.Linger = time.Second; c.Plan.Shards = 1 }).opened()
	var wg sync.WaitGroup
	wg.Go(func() { r.post(good("other", 1)).want(t, 200) })
	eventually(t, "a frame is open", func() bool {
		l := r.in.door.lanes[0]
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.open != nil
	})
	r.request("shop", good("u", 1), 200)
	wg.Wait()
	if rows := r.raw(); len(rows) != 2 || rows[0].Seq != rows[1].Seq {
		t.Errorf("%+v", rows)
	}
}

// TestRequestsAreDrained: what was taken when the ingester is stopped has its answer, and everything is stored.
func TestRequestsAreDrained(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	const n = 200
	inbox := r.nc.NewInbox()
	sub, err := r.nc.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if err := r.nc.PublishMsg(&nats.Msg{Subject: r.names.Door("shop"), Reply: inbox, Data: []byte(good(fmt.Sprint("u", i), i))}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		m, err := sub.NextMsg(5 * time.Second)
		if err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		if m.Header.Get(bus.HeaderStatus) != "200" {
			t.Fatalf("answer %d: %v %s", i, m.Header, m.Data)
		}
	}
	if rows := r.raw(); len(rows) != n {
		t.Errorf("%d rows", len(rows))
	}
	if msg, err := r.nc.Request(r.names.Door("shop"), []byte(good("u", 1)), time.Second); err == nil {
		t.Errorf("a stopped ingester answers %s", msg.Data)
	}
}

// TestRepliesOfRequests: the receipt goes to an inbox and nowhere else; a request that wants it in a stream stores nothing.
func TestRepliesOfRequests(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	replies := []string{r.names.Ledger(0), r.names.Door("web"), "$JS.API.STREAM.PURGE." + r.names.StreamIn(), "elsewhere"}
	for _, reply := range replies {
		heard, err := r.nc.SubscribeSync(reply)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if n, _, err := heard.Pending(); err != nil || n != 0 {
				t.Errorf("%d answers on %s, %v", n, reply, err)
			}
		})
		if err := r.nc.PublishMsg(&nats.Msg{Subject: r.names.Door("shop"), Reply: reply, Data: []byte(good("u", 1))}); err != nil {
			t.Fatal(err)
		}
	}
	a := r.request("shop", good("u", 2), 200)
	if rows := r.raw(); len(rows) != 1 || a.Receipt != receiptOf(rows) {
		t.Errorf("%d rows, want the one of the request with an inbox", len(rows))
	}
	if n := testutil.ToFloat64(r.in.door.m.astray); n != float64(len(replies)) {
		t.Errorf("%v replies were counted as astray, want %d", n, len(replies))
	}
}
