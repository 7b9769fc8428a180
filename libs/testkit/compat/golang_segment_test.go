package compat

import (
	"net"
	"testing"
	"time"

	"github.com/segmentio/analytics-go/v3"
)

type segmentGo struct{}

func (segmentGo) client(t testing.TB, door, key string) (analytics.Client, *delivered[analytics.Message]) {
	t.Helper()
	d := &delivered[analytics.Message]{}
	c, err := analytics.NewWithConfig(key, analytics.Config{Endpoint: door, Callback: d, Logger: hush{t}, Interval: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return c, d
}

// calls makes every call. The context is that of the batch, so that the door
// has to give it to each event.
func (s segmentGo) calls(t *testing.T, door, key string) (wanted []want) {
	c, d := s.client(t, door, key)
	library := map[string]any{"library": map[string]any{"name": "analytics-go", "version": analytics.Version}}
	given := &analytics.Context{
		IP: net.ParseIP("203.0.113.7"), Locale: "cs-CZ", Timezone: "Europe/Prague",
		Campaign: analytics.CampaignInfo{Name: "spring", Source: "news"},
		Page:     analytics.PageInfo{URL: "https://shop.example/p?a=1", Title: "Žluťoučký kůň"},
		App:      analytics.AppInfo{Name: "shop"},
		Extra:    map[string]any{"active": true},
	}
	for _, m := range []analytics.Message{
		analytics.Track{UserId: "ann", AnonymousId: "anon-1", Event: "Order Completed", Properties: rich(), Timestamp: at, Context: given, Integrations: analytics.Integrations{"All": false}},
		analytics.Track{AnonymousId: "anon-1", Event: "bare"},
		analytics.Track{UserId: "ann", Event: "own id", MessageId: "own-id-of-segment-go"},
		analytics.Identify{UserId: "ann", Traits: rich()},
		analytics.Page{UserId: "ann", Name: "Basket", Properties: with(rich(), map[string]any{"url": "https://shop.example/basket"})},
		analytics.Screen{UserId: "ann", Name: "Home", Properties: rich()},
		analytics.Group{UserId: "ann", GroupId: "acme", Traits: rich()},
		analytics.Alias{UserId: "ann", PreviousId: "anon-1"},
	} {
		if err := c.Enqueue(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for _, m := range d.messages(t) {
		w := want{Sent: true, Context: object(t, library)}
		switch m := m.(type) {
		case analytics.Track:
			w.Type, w.ID, w.At, w.Event, w.UserID, w.Anonymous, w.Properties = "track", m.MessageId, stamp(m.Timestamp), m.Event, m.UserId, m.AnonymousId, object(t, m.Properties)
			if m.Context != nil {
				// Its own context stands before that of the batch, field by field.
				w.Context = object(t, with(library, map[string]any{"timezone": "Europe/Prague", "app": map[string]any{"name": "shop"}, "active": true}))
				w.Columns = map[string]string{
					"ip": "203.0.113.7", "locale": "cs-CZ", "utm_campaign": "spring", "utm_source": "news",
					"url": "https://shop.example/p?a=1", "host": "shop.example", "path": "/p", "search": "?a=1", "title": "Žluťoučký kůň",
				}
				w.Extra = object(t, map[string]any{"integrations": m.Integrations})
			}
		case analytics.Identify:
			w.Type, w.ID, w.At, w.UserID, w.Traits = "identify", m.MessageId, stamp(m.Timestamp), m.UserId, object(t, m.Traits)
		case analytics.Page:
			w.Type, w.ID, w.At, w.Event, w.UserID, w.Properties = "page", m.MessageId, stamp(m.Timestamp), m.Name, m.UserId, object(t, m.Properties)
			w.Columns = map[string]string{"url": "https://shop.example/basket", "host": "shop.example", "path": "/basket"}
		case analytics.Screen:
			w.Type, w.ID, w.At, w.Event, w.UserID, w.Properties = "screen", m.MessageId, stamp(m.Timestamp), m.Name, m.UserId, object(t, m.Properties)
		case analytics.Group:
			w.Type, w.ID, w.At, w.UserID, w.Group, w.Traits = "group", m.MessageId, stamp(m.Timestamp), m.UserId, m.GroupId, object(t, m.Traits)
		case analytics.Alias:
			w.Type, w.ID, w.At, w.UserID, w.Previous = "alias", m.MessageId, stamp(m.Timestamp), m.UserId, m.PreviousId
		}
		wanted = append(wanted, w)
	}
	return wanted
}

func stamp(at time.Time) string { return at.Format(time.RFC3339Nano) }

func (s segmentGo) steady(t testing.TB, door, key string, until <-chan struct{}) int {
	c, d := s.client(t, door, key)
	n := tick(until, func(n int) error {
		return c.Enqueue(analytics.Track{UserId: user(n), Event: "steady", Properties: analytics.Properties{"n": n}})
	}, t)
	// Close gives up what has failed once, so all must be through before.
	waitDelivered(t, d, n)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	return n
}
