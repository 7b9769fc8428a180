package compat

import (
	"testing"
	"time"

	rudder "github.com/rudderlabs/analytics-go/v4"
)

type rudderGo struct{}

func (rudderGo) client(t testing.TB, door, key string) (rudder.Client, *delivered[rudder.Message]) {
	t.Helper()
	d := &delivered[rudder.Message]{}
	c, err := rudder.NewWithConfig(key, rudder.Config{DataPlaneUrl: door, Callback: d, Logger: hush{t}, Interval: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return c, d
}

func (s rudderGo) calls(t *testing.T, door, key string) (wanted []want) {
	c, d := s.client(t, door, key)
	for _, m := range []rudder.Message{
		rudder.Track{UserId: "ann", AnonymousId: "anon-1", Event: "Order Completed", Properties: rich(), OriginalTimestamp: at, Integrations: rudder.Integrations{"All": false}, Context: &rudder.Context{
			Locale: "cs-CZ", Timezone: "Europe/Prague", Page: rudder.PageInfo{URL: "https://shop.example/p?a=1"}, Extra: map[string]any{"active": true},
		}},
		rudder.Track{UserId: "ann", Event: "bare"}, // it invents an anonymous id
		rudder.Track{UserId: "ann", Event: "own id", MessageId: "own-id-of-rudder-go"},
		rudder.Identify{UserId: "ann", Traits: rich()},
		rudder.Page{UserId: "ann", Name: "Basket", Properties: with(rich(), map[string]any{"url": "https://shop.example/basket"})},
		rudder.Screen{UserId: "ann", Name: "Home", Properties: rich()},
		rudder.Group{UserId: "ann", GroupId: "acme", Traits: rich()},
		rudder.Alias{UserId: "ann", PreviousId: "anon-1"},
	} {
		if err := c.Enqueue(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	library := map[string]any{"library": map[string]any{"name": "analytics-go", "version": rudder.Version}}
	for _, m := range d.messages(t) {
		w := want{Context: object(t, library), Extra: object(t, map[string]any{"channel": "server"})}
		switch m := m.(type) {
		case rudder.Track:
			w.Type, w.ID, w.At, w.Event, w.UserID, w.Anonymous, w.Properties = "track", m.MessageId, stamp(m.OriginalTimestamp), m.Event, m.UserId, m.AnonymousId, object(t, m.Properties)
			w.sentAt = m.SentAt
			if m.Event == "Order Completed" {
				w.Context = object(t, with(library, map[string]any{"timezone": "Europe/Prague", "active": true}))
				w.Columns = map[string]string{"locale": "cs-CZ", "url": "https://shop.example/p?a=1", "host": "shop.example", "path": "/p", "search": "?a=1"}
				w.Extra = object(t, map[string]any{"channel": "server", "integrations": m.Integrations})
			}
		case rudder.Identify:
			w.Type, w.ID, w.At, w.sentAt, w.UserID, w.Traits = "identify", m.MessageId, stamp(m.OriginalTimestamp), m.SentAt, m.UserId, object(t, m.Traits)
		case rudder.Page:
			w.Type, w.ID, w.At, w.sentAt, w.Event, w.UserID, w.Anonymous, w.Properties = "page", m.MessageId, stamp(m.OriginalTimestamp), m.SentAt, m.Name, m.UserId, m.AnonymousId, object(t, m.Properties)
			w.Columns = map[string]string{"url": "https://shop.example/basket", "host": "shop.example", "path": "/basket"}
		case rudder.Screen:
			w.Type, w.ID, w.At, w.sentAt, w.Event, w.UserID, w.Anonymous, w.Properties = "screen", m.MessageId, stamp(m.OriginalTimestamp), m.SentAt, m.Name, m.UserId, m.AnonymousId, object(t, m.Properties)
		case rudder.Group:
			w.Type, w.ID, w.At, w.sentAt, w.UserID, w.Anonymous, w.Group, w.Traits = "group", m.MessageId, stamp(m.OriginalTimestamp), m.SentAt, m.UserId, m.AnonymousId, m.GroupId, object(t, m.Traits)
		case rudder.Alias:
			w.Type, w.ID, w.At, w.sentAt, w.UserID, w.Previous = "alias", m.MessageId, stamp(m.OriginalTimestamp), m.SentAt, m.UserId, m.PreviousId
		}
		wanted = append(wanted, w)
	}
	return wanted
}

func (s rudderGo) steady(t testing.TB, door, key string, until <-chan struct{}) int {
	c, d := s.client(t, door, key)
	n := tick(until, func(n int) error {
		return c.Enqueue(rudder.Track{UserId: user(n), Event: "steady", Properties: rudder.Properties{"n": n}})
	}, t)
	waitDelivered(t, d, n)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	return n
}
