package compat

import (
	"testing"
	"time"

	"github.com/posthog/posthog-go"
)

type posthogGo struct{}

func (posthogGo) client(t testing.TB, door, key string) (posthog.Client, *delivered[posthog.APIMessage]) {
	t.Helper()
	d := &delivered[posthog.APIMessage]{}
	c, err := posthog.NewWithConfig(key, posthog.Config{Endpoint: door, Callback: d, Logger: hush{t}, Interval: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return c, d
}

// calls makes every call. Only Capture can be given an id, and without one it
// is empty; Millrace gives one then. The SDK does not say when it sent them.
func (s posthogGo) calls(t *testing.T, door, key string) (wanted []want) {
	c, d := s.client(t, door, key)
	for _, m := range []posthog.Message{
		posthog.Capture{Uuid: "018f3b5e-0000-7000-8000-00000000abcd", DistinctId: "ann", Event: "order completed", Timestamp: at, Properties: rich(), Groups: posthog.Groups{"company": "acme"}},
		posthog.Capture{DistinctId: "ann", Event: "bare"},
		posthog.Capture{DistinctId: "ann", Event: "$pageview", Properties: posthog.Properties{"$current_url": "https://shop.example/p?a=1"}},
		posthog.Identify{DistinctId: "ann", Properties: rich()},
		posthog.GroupIdentify{Type: "company", Key: "acme", Properties: rich()},
		posthog.Alias{DistinctId: "ann", Alias: "annie"},
	} {
		if err := c.Enqueue(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for _, m := range d.messages(t) {
		w := want{}
		extra := map[string]any{}
		switch m := m.(type) {
		case posthog.CaptureInApi:
			w.Type, w.Event, w.ID, w.At, w.UserID, w.Properties = "track", m.Event, m.Uuid, stamp(m.Timestamp), m.DistinctId, object(t, m.Properties)
			extra["send_feature_flags"], extra["posthog_type"] = false, "capture"
			w.library(t, extra, m.Library, m.LibraryVersion)
			if m.Event == "$pageview" {
				w.Type, w.Event = "page", ""
				w.Columns = map[string]string{"url": "https://shop.example/p?a=1", "host": "shop.example", "path": "/p", "search": "?a=1"}
			}
		case posthog.IdentifyInApi:
			w.Type, w.At, w.UserID, w.Properties, w.Traits = "identify", stamp(m.Timestamp), m.DistinctId, object(t, m.Properties), object(t, m.Set)
			extra["posthog_type"] = "identify"
			w.library(t, extra, m.Library, m.LibraryVersion)
		case posthog.GroupIdentifyInApi:
			w.Type, w.At, w.Group, w.Traits = "group", stamp(m.Timestamp), "acme", object(t, m.Properties["$group_set"])
			w.Properties = object(t, m.Properties)
			delete(w.Properties, "$group_set") // the traits have it
			w.Anonymous = m.DistinctId         // made up by the SDK for the group
			w.library(t, extra, m.Library, m.LibraryVersion)
		case posthog.AliasInApi:
			w.Type, w.At, w.UserID, w.Previous, w.Properties = "alias", stamp(m.Timestamp), m.Properties.DistinctId, m.Properties.Alias, object(t, m.Properties)
			extra["posthog_type"] = "alias"
			w.library(t, extra, m.Library, m.LibraryVersion)
		}
		wanted = append(wanted, w)
	}
	return wanted
}

// library adds what the SDK says of itself, twice.
func (w *want) library(t testing.TB, extra map[string]any, name, version string) {
	t.Helper()
	extra["library"], extra["library_version"] = name, version
	w.Extra = object(t, extra)
	w.Context = object(t, map[string]any{"library": map[string]any{"name": name, "version": version}})
}

func (s posthogGo) steady(t testing.TB, door, key string, until <-chan struct{}) int {
	c, d := s.client(t, door, key)
	n := tick(until, func(n int) error {
		return c.Enqueue(posthog.Capture{DistinctId: user(n), Event: "steady", Properties: posthog.Properties{"n": n}})
	}, t)
	waitDelivered(t, d, n)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	return n
}
