package tracked

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/localdb"
	"github.com/millrace/millrace/libs/svc"
	"github.com/millrace/millrace/libs/testkit"
	"github.com/millrace/millrace/libs/track"
	"github.com/millrace/millrace/services/query"
)

// row is what a call becomes: the columns of events that an event's own fields fill.
type row struct {
	Texts                                map[string]string // of the columns below, those that are not empty
	Timestamp                            time.Time
	Properties, Traits, Context, Extra   map[string]string
	PropertiesNum, TraitsNum, ContextNum map[string]float64
	original                             time.Time
	sent                                 time.Time
}

var texts = []string{
	"source", "type", "event", "user_id", "anonymous_id", "previous_id", "group_id", "session_id",
	"url", "path", "host", "search", "title", "referrer", "referrer_host",
	"utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content", "browser", "os", "ip", "locale",
}

func (m *mill) row(id string) (r row) {
	m.Helper()
	values := make([]string, len(texts))
	columns, to := []string{}, []any{}
	for i, name := range texts {
		columns, to = append(columns, "toString("+name+")"), append(to, &values[i])
	}
	columns = append(columns, "timestamp", "original_timestamp", "sent_at", "properties", "traits", "context", "extra", "properties_num", "traits_num", "context_num")
	to = append(to, &r.Timestamp, &r.original, &r.sent, &r.Properties, &r.Traits, &r.Context, &r.Extra, &r.PropertiesNum, &r.TraitsNum, &r.ContextNum)
	err := m.db.Open(localdb.ReaderUser).QueryRow(m.Context(), "SELECT "+strings.Join(columns, ", ")+" FROM events WHERE event_id = ?", id).Scan(to...)
	if err != nil {
		m.Fatalf("event %s: %v", id, err)
	}
	r.Texts = map[string]string{}
	for i, name := range texts {
		if values[i] != "" {
			r.Texts[name] = values[i]
		}
	}
	if !r.original.Equal(r.Timestamp) || !r.sent.Equal(time.Unix(0, 0)) {
		m.Errorf("event %s: the clock was corrected: %s, %s, %s", id, r.Timestamp, r.original, r.sent)
	}
	return r
}

// TestEveryCallFieldByField sends one event of each kind, and looks for all of its fields in ClickHouse.
func TestEveryCallFieldByField(t *testing.T) {
	m := newMill(t)
	var failed failures
	c := client(t, connect(t, m.nats.URL), track.OnError(failed.add), track.AllContext(track.Context{"app": map[string]any{"name": "till"}}))
	ctx := track.WithContext(t.Context(), track.Context{"ip": "192.0.2.7", "userAgent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"})
	at := time.Date(2026, 3, 4, 5, 6, 7, 89_000_000, time.UTC)
	page := map[string]any{"url": "https://shop.example/cart?q=1", "path": "/cart", "referrer": "https://search.example/x", "search": "?q=1", "title": "Cart ü"}
	c.Track(ctx, track.Track{
		UserID: "u1", AnonymousID: "a1", SessionID: "s1", Event: "Order <Completed> \u2028", MessageID: "track", Timestamp: at,
		Properties: track.Properties{"total": 12.5, "items": []int{1, 2}, "big": uint64(1 << 60), "text": "a\n\"b\"\x00", "no": nil, "yes": true},
		Context:    track.Context{"page": page, "campaign": map[string]any{"source": "s", "medium": "m", "name": "n", "term": "t", "content": "c"}, "locale": "de-AT", "more": 7},
	})
	c.Identify(ctx, track.Identify{UserID: "u1", AnonymousID: "a1", SessionID: "s1", MessageID: "identify", Timestamp: at, Traits: track.Traits{"plan": "pro", "age": 41}})
	c.Page(ctx, track.Page{AnonymousID: "a1", SessionID: "s1", Name: "Cart", MessageID: "page", Timestamp: at, Properties: track.Properties{"path": "/cart", "title": "Cart"}})
	c.Screen(ctx, track.Screen{UserID: "u1", SessionID: "s1", Name: "Home", MessageID: "screen", Timestamp: at, Properties: track.Properties{"dark": false}})
	c.Group(ctx, track.Group{UserID: "u1", SessionID: "s1", GroupID: "g1", MessageID: "group", Timestamp: at, Traits: track.Traits{"seats": 3}})
	c.Alias(ctx, track.Alias{UserID: "u1", SessionID: "s1", PreviousID: "a1", MessageID: "alias", Timestamp: at})
	c.Submit(ctx, track.Raw(`{"type":"track","event":"raw","userId":"u1","messageId":"raw","timestamp":"2026-03-04T05:06:07.089Z","more":{"a":1}}`))
	end(t, c)
	failed.none(t)
	m.counted(7)

	around := func(more map[string]string) map[string]string {
		all := map[string]string{"source": shop, "session_id": "s1", "ip": "192.0.2.7", "browser": "Firefox", "os": "Linux"}
		maps.Copy(all, more)
		return all
	}
	app := map[string]string{"app": `{"name":"till"}`}
	check := func(id string, want row) {
		t.Helper()
		got := m.row(id)
		got.original, got.sent = time.Time{}, time.Time{}
		want.Timestamp = at
		for _, texts := range []*map[string]string{&want.Properties, &want.Traits, &want.Context, &want.Extra} {
			if *texts == nil {
				*texts = map[string]string{}
			}
		}
		for _, numbers := range []*map[string]float64{&want.PropertiesNum, &want.TraitsNum, &want.ContextNum} {
			if *numbers == nil {
				*numbers = map[string]float64{}
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", id, got, want)
		}
	}
	check("track", row{
		Texts: around(map[string]string{
			"type": "track", "event": "Order <Completed> \u2028", "user_id": "u1", "anonymous_id": "a1", "url": "https://shop.example/cart?q=1", "path": "/cart",
			"host": "shop.example", "search": "?q=1", "title": "Cart ü", "referrer": "https://search.example/x", "referrer_host": "search.example",
			"utm_source": "s", "utm_medium": "m", "utm_campaign": "n", "utm_term": "t", "utm_content": "c", "locale": "de-AT",
		}),
		Properties:    map[string]string{"total": "12.5", "items": "[1,2]", "big": "1152921504606846976", "text": "a\n\"b\"\x00", "no": "null", "yes": "true"},
		PropertiesNum: map[string]float64{"total": 12.5, "big": 1 << 60},
		Context:       map[string]string{"app": `{"name":"till"}`, "more": "7"}, ContextNum: map[string]float64{"more": 7},
	})
	check("identify", row{
		Texts:  around(map[string]string{"type": "identify", "user_id": "u1", "anonymous_id": "a1"}),
		Traits: map[string]string{"plan": "pro", "age": "41"}, TraitsNum: map[string]float64{"age": 41}, Context: app,
	})
	check("page", row{
		Texts:      around(map[string]string{"type": "page", "event": "Cart", "anonymous_id": "a1", "path": "/cart", "title": "Cart"}),
		Properties: map[string]string{"path": "/cart", "title": "Cart"}, Context: app,
	})
	check("screen", row{Texts: around(map[string]string{"type": "screen", "event": "Home", "user_id": "u1"}), Properties: map[string]string{"dark": "false"}, Context: app})
	check("group", row{
		Texts:  around(map[string]string{"type": "group", "user_id": "u1", "group_id": "g1"}),
		Traits: map[string]string{"seats": "3"}, TraitsNum: map[string]float64{"seats": 3}, Context: app,
	})
	check("alias", row{Texts: around(map[string]string{"type": "alias", "user_id": "u1", "previous_id": "a1"}), Context: app})
	check("raw", row{Texts: map[string]string{"source": shop, "type": "track", "event": "raw", "user_id": "u1"}, Extra: map[string]string{"more": `{"a":1}`}})
}

// TestReceiptsAreThoseOfTheQueryService asks for what was just acknowledged, by the receipt, and about its user.
func TestReceiptsAreThoseOfTheQueryService(t *testing.T) {
	m := newMill(t)
	q, err := query.New(query.Config{
		Bus: bus.Config{URL: m.nats.URL}, Addr: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry(), Health: svc.NewHealth(),
		ClickHouse: query.ClickHouse{URL: m.db.Addrs().HTTP, User: localdb.ReaderUser, Password: svc.Secret(m.db.Password(localdb.ReaderUser)), Database: localdb.Database},
	})
	m.run(q, err)
	get := func(method, path, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+q.Addr().String()+path, strings.NewReader(body))
		m.must(err)
		res, err := http.DefaultClient.Do(req)
		m.must(err)
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		m.must(err)
		return res.StatusCode, string(text)
	}
	c := client(t, connect(t, m.nats.URL))
	for i := range 20 {
		user := fmt.Sprint("u", i)
		receipt, err := c.Submit(t.Context(), track.Track{UserID: user, Event: "seen"}).Wait(t.Context())
		m.must(err)
		var status int
		var text string
		testkit.Eventually(t, "the query service answers", func() bool {
			status, text = get(http.MethodPost, "/v1/sql?after="+url.QueryEscape(receipt.String()), "SELECT count() AS n FROM events WHERE event_id = '"+receipt.MessageID+"' FORMAT CSV")
			return status == http.StatusOK || i > 0
		})
		if status != http.StatusOK || strings.TrimSpace(text) != "1" {
			t.Errorf("after %s: %d %s", receipt, status, text)
		}
	}
	end(t, c)
}
