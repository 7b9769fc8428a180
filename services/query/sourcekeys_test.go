package query

import (
	"net/http"
	"testing"
	"time"

	"github.com/millrace/millrace/libs/bus/sources"
	"github.com/millrace/millrace/libs/testkit"
)

// TestSourceKeysAsk: a key of the bucket may ask from the moment it is there until it is disabled, where the service was
// told so, and nothing but ask. No ingester runs, so an ask that is let in is answered with 503.
func TestSourceKeysAsk(t *testing.T) {
	r := newRig(t, 1)
	store, err := sources.Open(t.Context(), r.js, r.inst.Names)
	r.must(err)
	key, k := sources.NewKey(time.Now(), "")
	_, closed := r.serve(func(c *Config) { r.must(c.Keys.Set("0123456789abcdef")) })
	r.svc, r.base = r.serve(func(c *Config) {
		r.must(c.Keys.Set("0123456789abcdef"))
		r.must(c.WriteKeys.Set("app:the-key-of-app"))
		c.SourceKeys = true
	})
	ask := func(key string) int {
		return r.post("/v1/ask", "timeout=1s", `{"user_id":"ada","event_type":"e"}`, func(q *http.Request) { q.Header.Set("X-Write-Key", key) }).status
	}
	change := func(name string, change func(*sources.Record)) {
		_, err := store.Change(t.Context(), name, func(rec *sources.Record) error { change(rec); return nil })
		r.must(err)
	}
	becomes := func(key string, in bool) {
		t.Helper()
		testkit.Eventually(t, "the key opens and shuts", func() bool { return (ask(key) != http.StatusUnauthorized) == in })
	}
	becomes(key, false)
	becomes("the-key-of-app", true)
	_, err = store.Add(t.Context(), sources.Record{Name: "shop", Keys: []sources.Key{k}})
	r.must(err)
	becomes(key, true)
	if a := r.post("/v1/sql", "", "SELECT 1", func(q *http.Request) { q.Header.Set("Authorization", "Bearer "+key) }); a.status != http.StatusForbidden {
		t.Errorf("a write key asks SQL: %d", a.status)
	}
	change("shop", func(rec *sources.Record) { rec.Keys[0].Disabled = true })
	becomes(key, false)
	change("shop", func(rec *sources.Record) { rec.Keys[0].Disabled = false })
	becomes(key, true)
	change("shop", func(rec *sources.Record) { rec.Disabled = true })
	becomes(key, false)
	change("shop", func(rec *sources.Record) { rec.Disabled = false })
	becomes(key, true)

	// The source of a flag's key can be disabled too.
	_, err = store.Add(t.Context(), sources.Record{Name: "app", Disabled: true})
	r.must(err)
	becomes("the-key-of-app", false)
	change("app", func(rec *sources.Record) { rec.Disabled = false })
	becomes("the-key-of-app", true)

	// A write key may be public: one that is an API key too opens no more than a write key.
	_, r.base = r.serve(func(c *Config) { r.must(c.Keys.Set(key)); c.SourceKeys = true })
	testkit.Eventually(t, "the API key is known as a write key", func() bool {
		return r.post("/v1/sql", "", "SELECT 1", func(q *http.Request) { q.Header.Set("Authorization", "Bearer "+key) }).status == http.StatusForbidden
	})

	// Before the sources have been read, nobody is told that his key is wrong.
	_, r.base = r.serve(func(c *Config) {
		r.must(c.Keys.Set("0123456789abcdef"))
		c.Bus.URL, c.SourceKeys = "nats://127.0.0.1:1", true
	})
	if status := ask(key); status != http.StatusServiceUnavailable {
		t.Errorf("without NATS: %d", status)
	}

	// One that was not told so knows the key and does not take it.
	r.base = closed
	if status := ask(key); status != http.StatusUnauthorized {
		t.Errorf("without --ask-with-source-keys: %d", status)
	}
}
