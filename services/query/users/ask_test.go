package users

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/testkit"
	"github.com/millrace/millrace/services/query/access"
	"github.com/millrace/millrace/services/query/problem"
)

// door answers like an ingester, with the row in ENRICHED at once. What refuses says, if not nil, is the answer instead.
func (r *rig) door(refuses func(body string) (status int, answer string)) {
	r.Helper()
	nc := r.js.Conn()
	sub, err := nc.Subscribe(r.inst.Names.DoorAll(), func(m *nats.Msg) {
		status, text := http.StatusOK, ""
		if refuses != nil {
			status, text = refuses(string(m.Data))
		}
		if text == "" {
			var e struct {
				UserID      string            `json:"user_id"`
				AnonymousID string            `json:"anonymous_id"`
				EventType   string            `json:"event_type"`
				MessageID   string            `json:"message_id"`
				EventData   map[string]string `json:"event_data"`
				Mark        bool              `json:"millrace_request"`
				Timestamp   time.Time         `json:"timestamp"`
			}
			if err := json.Unmarshal(m.Data, &e); err != nil {
				r.Error(err)
			}
			if e.Timestamp.IsZero() {
				e.Timestamp = time.Now()
			}
			receipt := r.publish(testkit.Row{
				Source: r.inst.Names.DoorSource(m.Subject), Type: "track", Event: e.EventType, EventID: e.MessageID, UserID: e.UserID,
				AnonymousID: e.AnonymousID, Properties: e.EventData, Timestamp: e.Timestamp, Extra: map[string]string{requestMark: fmt.Sprint(e.Mark)},
			})
			text = fmt.Sprintf(`{"accepted":1,"rejected":[],"receipt":%q}`, receipt)
		}
		if err := m.RespondMsg(&nats.Msg{Data: []byte(text), Header: nats.Header{bus.HeaderStatus: {fmt.Sprint(status)}}}); err != nil {
			r.Error(err)
		}
	})
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = sub.Unsubscribe() })
}

func (r *rig) ask(body string) *Context {
	r.Helper()
	a, err := r.users.Ask(r.Context(), Request{Source: shop, Body: []byte(body), Wait: time.Minute})
	if err != nil {
		r.Fatal(err)
	}
	return a
}

// TestAskHoldsWhatWasJustPublished: what was published right before, and the ask's own event, are in every answer: read
// anew, kept, with the event in the tail only or in ClickHouse already.
func TestAskHoldsWhatWasJustPublished(t *testing.T) {
	r := newRig(t, 2, 0)
	r.door(nil)
	for i := range 80 {
		user := fmt.Sprint("user ", i%5)
		r.publish(testkit.Row{Type: "track", Event: "clicked", EventID: fmt.Sprint("click ", i), UserID: user, Timestamp: time.Now()})
		a := r.ask(fmt.Sprintf(`{"user_id":%q,"event_type":"help","event_data":{"n":"%d"}}`, user, i))
		if len(a.Recent) < 2 || a.Recent[0].Event != "help" || a.Recent[0].Properties["n"].Text != fmt.Sprint(i) || a.Recent[1].EventID != fmt.Sprint("click ", i) {
			t.Fatalf("round %d: %+v", i, a.Recent)
		}
		if a.Request == nil || a.Request.EventID != a.Recent[0].EventID || a.Receipt != a.Request.Receipt || a.Repeat || !a.Complete {
			t.Fatalf("round %d: %+v of %+v", i, a.Request, a)
		}
		if want := uint64(2 * (i/5 + 1)); a.Profile.Events != want || a.Session == nil || a.Session.Events != int(want) {
			t.Fatalf("round %d: %d events, want %d; session %+v", i, a.Profile.Events, want, a.Session)
		}
		switch {
		case i < 5 && a.Since != nil, i >= 5 && (a.Since == nil || a.Since.Event != "help" || a.Since.Events["clicked"] != 1 || len(a.Since.Events) != 1):
			t.Fatalf("round %d: since %+v", i, a.Since)
		}
		switch i % 7 {
		case 2:
			r.proveAll()
		case 4:
			(*hook)(r.users).Gap(0)
		}
	}
}

// TestReadEvent: what is wrong with a request, and what of it is stored.
func TestReadEvent(t *testing.T) {
	for body, want := range map[string]string{
		`{"user_id":"a","event_type":"x","n":1.50,"message_id":"m"}`: `{"user_id":"a","event_type":"x","n":1.50,"message_id":"m","millrace_request":true}`,
		`{"userId":"a","messageId":"m","source":"shop"}`:             `{"userId":"a","messageId":"m","millrace_request":true}`,
		` { "anonymousId" : "b" , "messageId":"m", "p":{"x":[1]} } `: `{"anonymousId":"b","messageId":"m","p":{"x":[1]},"millrace_request":true}`,
		`{"user_id": 7 ,"message_id":-1.50}`:                         `{"user_id":7,"message_id":-1.50,"millrace_request":true}`,
	} {
		ev, err := readEvent([]byte(body))
		if err != nil || string(ev.body) != want {
			t.Errorf("%s is stored as %s (%v)", body, ev.body, err)
		}
	}
	if ev, err := readEvent([]byte(`{"user_id":"a"}`)); err != nil || ev.id == "" || !strings.Contains(string(ev.body), `"message_id":"`+ev.id+`"`) {
		t.Errorf("without an id: %s (%v)", ev.body, err)
	}
	for _, none := range []string{`null`, `""`} { // an event with two is refused
		ev, err := readEvent([]byte(`{"message_id":` + none + `,"user_id":"a","anonymous_id":null}`))
		if want := `{"user_id":"a","anonymous_id":null,"message_id":"` + ev.id + `","millrace_request":true}`; err != nil || ev.id == "" || string(ev.body) != want {
			t.Errorf("with the id %s: %s (%v)", none, ev.body, err)
		}
	}
	if ev, err := readEvent([]byte(`{"userId": -7.50 ,"messageId":12e3}`)); err != nil || ev.user != "-7.50" || ev.id != "12e3" {
		t.Errorf("numbers: %+v (%v)", ev, err)
	}
	for _, body := range []string{
		``, `[]`, `[{"user_id":"a"}]`, `"a"`, `{`, `{"user_id":"a"`, `{"user_id":"a"}{}`, `{"user_id":[1]}`, `{}`, `{"user_id":null}`,
		`{"user_id":"a","millrace_request":true}`, `{"user_id":"a",}`, "{\"user_id\":\"a\nb\"}",
	} {
		if ev, err := readEvent([]byte(body)); err == nil {
			t.Errorf("%s is taken as %s", body, ev.body)
		}
	}
}

// TestTheRequestIsAlwaysShown: also when others are newer by their own clocks, and when it is a repeat.
func TestTheRequestIsAlwaysShown(t *testing.T) {
	r := newRig(t, 2, 0)
	r.door(func(body string) (int, string) {
		if strings.Contains(body, `"again"`) { // the enricher drops it: a frame without rows
			p := r.frame(r.shardOf(&testkit.Row{Source: shop, UserID: "ada"}))
			return http.StatusOK, fmt.Sprintf(`{"accepted":1,"rejected":[],"receipt":"%d:%d"}`, p.Shard, p.Seq)
		}
		return http.StatusOK, ""
	})
	old := time.Now().Add(-72 * time.Hour).UTC().Format(time.RFC3339)
	var rows []testkit.Row
	for i := range 70 {
		rows = append(rows, testkit.Row{Type: "track", Event: "newer", EventID: fmt.Sprint(i), UserID: "ada", Timestamp: time.Now()})
	}
	rows = append(rows, testkit.Row{Type: "track", Event: "asked before", EventID: "again", UserID: "ada", Timestamp: time.Now().Add(-96 * time.Hour)})
	r.publish(rows...)
	for _, proven := range []bool{false, true} {
		if proven {
			r.proveAll()
			(*hook)(r.users).Gap(0)
		}
		a := r.ask(`{"user_id":"ada","event_type":"old","timestamp":"` + old + `"}`)
		if a.Request == nil || a.Request.Event != "old" || a.Recent[len(a.Recent)-1].Event != "old" || len(a.Recent) != defaultRecent || a.Repeat {
			t.Errorf("proven %t: request %+v, repeat %t, the last shown %+v", proven, a.Request, a.Repeat, a.Recent[len(a.Recent)-1])
		}
		a = r.ask(`{"user_id":"ada","event_type":"old","message_id":"again"}`)
		if a.Request == nil || a.Request.Event != "asked before" || !a.Repeat || a.Recent[len(a.Recent)-1].EventID != "again" {
			t.Errorf("proven %t: a repeat: %+v, %t", proven, a.Request, a.Repeat)
		}
	}
}

func TestWhatTheDoorSays(t *testing.T) {
	r := newRig(t, 1, 0)
	problemOf := func(source, body string) *problem.Problem {
		t.Helper()
		_, err := r.users.Ask(t.Context(), Request{Source: source, Body: []byte(body), Wait: 5 * time.Second})
		var p *problem.Problem
		if !errors.As(err, &p) {
			t.Fatalf("%s: %v", body, err)
		}
		return p
	}
	if p := problemOf(shop, `{"user_id":"a"}`); p.Status != http.StatusServiceUnavailable || !strings.Contains(p.Detail, "no ingester") {
		t.Errorf("without an ingester: %v", p)
	}
	r.door(func(body string) (int, string) {
		switch {
		case strings.Contains(body, "full"):
			return 429, `{"detail":"the log is full"}`
		case strings.Contains(body, "away"):
			return 503, `{"detail":"NATS is away"}`
		case strings.Contains(body, "wrong"):
			return 200, `{"accepted":0,"rejected":[{"index":0,"reason":"bad_type: no"}],"receipt":"0:1"}`
		default:
			return 200, `{"accepted":1,"rejected":[],"receipt":"0:1000"}` // and it never comes
		}
	})
	for body, want := range map[string]struct {
		status int
		kind   problem.Kind
	}{
		`{"user_id":"full"}`: {429, problem.Busy}, `{"user_id":"away"}`: {503, problem.Unavailable}, `{"user_id":"wrong"}`: {400, problem.BadRequest},
		`{"user_id":"a","source":"app"}`: {403, problem.Forbidden}, `[]`: {400, problem.BadRequest},
	} {
		if p := problemOf(shop, body); p.Status != want.status || !p.Of(want.kind) {
			t.Errorf("%s: %d %s: %s", body, p.Status, p.Code, p.Detail)
		}
	}
	_, err := r.users.Ask(t.Context(), Request{Source: shop, Body: []byte(`{"user_id":"slow"}`), Wait: 200 * time.Millisecond})
	var p *problem.Problem
	if !errors.As(err, &p) || p.Status != http.StatusGatewayTimeout || !p.Of(problem.NotYet) || len(p.Shards) != 1 || p.Shards[0].Want != 1000 {
		t.Errorf("a frame that does not come: %v", err)
	}
}

// TestAnotherSource: a key of one source learns nothing of another's users, by any way of naming it.
func TestAnotherSource(t *testing.T) {
	r := newRig(t, 1, 0)
	r.door(nil)
	r.publish(testkit.Row{Source: "app", Type: "track", Event: "secret", UserID: "ada", Timestamp: time.Now()})
	key, api := access.NewKey("write:shop", []string{shop}, access.Write), access.NewKey("support", []string{shop}, access.Ask)
	mux := http.NewServeMux()
	serve := func(f func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
		return func(w http.ResponseWriter, req *http.Request) {
			if err := f(w, req); err != nil {
				var p *problem.Problem
				if !errors.As(err, &p) {
					t.Error(err)
					return
				}
				p.Write(w)
			}
		}
	}
	mux.HandleFunc("/v1/ask", serve(r.users.ServeAsk))
	mux.HandleFunc("/v1/users/{id}", serve(r.users.ServeUser))
	call := func(k *access.Key, method, url, body string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequestWithContext(access.With(context.Background(), k), method, url, strings.NewReader(body)))
		return w
	}
	event := `{"user_id":"ada","event_type":"help"`
	for _, c := range []struct {
		key               *access.Key
		method, url, body string
		status            int
	}{
		{key, "POST", "/v1/ask", event + `}`, 200},
		{key, "POST", "/v1/ask", event + `,"source":"shop"}`, 200},
		{key, "POST", "/v1/ask", event + `,"source":"app"}`, 403},
		{key, "POST", "/v1/ask?source=app", event + `}`, 403},
		{key, "POST", "/v1/ask?source=shop", event + `,"source":"app"}`, 403},
		{key, "GET", "/v1/users/ada", "", 403}, // it may ask only as the user, whose event is stored
		{key, "GET", "/v1/users/ada?source=shop", "", 403},
		{api, "POST", "/v1/ask", event + `}`, 200},
		{api, "POST", "/v1/ask", event + `,"source":"app"}`, 403},
		{api, "GET", "/v1/users/ada", "", 200},
		{api, "GET", "/v1/users/ada?source=app", "", 403},
		{access.NewKey("sql", nil, access.SQL), "GET", "/v1/users/ada?source=shop", "", 403},
		{access.Everything(), "GET", "/v1/users/ada", "", 400},
		{access.Everything(), "GET", "/v1/users/ada?source=app", "", 200},
		{access.Everything(), "GET", "/v1/users/ada?source=a.b", "", 400},
		{access.Everything(), "GET", "/v1/users/ada?source=app&nonsense=1", "", 400},
		{access.Everything(), "GET", "/v1/users/ada?source=app&after=0:1", "", 200},
		{access.Everything(), "GET", "/v1/users/ada?source=app&after=7:1", "", 400},
		{access.Everything(), "GET", "/v1/users/ada?source=app&after=0:99&timeout=50ms", "", 504},
	} {
		w := call(c.key, c.method, c.url, c.body)
		if w.Code != c.status {
			t.Errorf("%s %s %s: %d %s", c.method, c.url, c.body, w.Code, w.Body)
		}
		if strings.Contains(w.Body.String(), "secret") != (c.status == 200 && strings.Contains(c.url, "app")) {
			t.Errorf("%s %s %s: %s", c.method, c.url, c.body, w.Body)
		}
	}
}
