package up

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/bus/sources"
	"github.com/millrace/millrace/libs/testkit"
	"github.com/millrace/millrace/services/millrace/client"
	"github.com/millrace/millrace/services/query/problem"
	"github.com/millrace/millrace/services/query/users"
)

// request makes one of the query port and reads the answer.
func (in *installation) request(t *testing.T, method, path, body string, header map[string]string) (status int, answer []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, in.Query+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if answer, err = io.ReadAll(res.Body); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, answer
}

// TestAWriteKeyAsksAndNothingElse: everybody who opens a page can read its write key.
func TestAWriteKeyAsksAndNothingElse(t *testing.T) {
	const apiKey = "the-key-of-the-operator"
	in := start(t, func(c *Config) {
		c.APIKeys = []string{apiKey}
		if err := c.TrustedProxies.Set("127.0.0.0/8"); err != nil {
			t.Fatal(err)
		}
	})
	write, api := map[string]string{"X-Write-Key": in.WriteKey}, map[string]string{"Authorization": "Bearer " + apiKey}
	for _, path := range []string{
		"GET /v1/users/ada", "GET /v1/users/ada?source=demo", "POST /v1/sql", "DELETE /v1/sql/some-question", "GET /v1/queries", "GET /v1/queries/any",
		"GET /v1/reports", "GET /v1/reports/trend?event=a", "GET /v1/live", "GET /v1/live/sql", "GET /v1/status", "POST /v1/verify", "GET /openapi.json", "GET /nothing",
	} {
		method, path, _ := strings.Cut(path, " ")
		status, text := in.request(t, method, path, "SELECT 1", write)
		var p problem.Problem
		if err := json.Unmarshal(text, &p); err != nil || status != http.StatusForbidden || !p.Of(problem.Forbidden) || !strings.Contains(p.Detail, "POST /v1/ask") {
			t.Errorf("%s %s with a write key: %d %s", method, path, status, text)
		}
	}
	if status, text := in.request(t, "POST", "/v1/ask", `{"user_id":"ada","event_type":"help","source":"another"}`, write); status != http.StatusForbidden {
		t.Errorf("an ask for another source: %d %s", status, text)
	}

	// Behind a proxy, the event is from where its user is, as through the door.
	proxied := map[string]string{"X-Write-Key": in.WriteKey, "X-Forwarded-For": "1.1.1.1, 203.0.113.9"}
	status, text := in.request(t, "POST", "/v1/ask", `{"user_id":"ada","event_type":"help"}`, proxied)
	var a users.Context
	if err := json.Unmarshal(text, &a); err != nil || status != http.StatusOK || a.Request == nil {
		t.Fatalf("an ask: %d %s", status, text)
	}
	questions, err := client.New(client.Config{URL: in.Query, Bearer: apiKey, Flag: "query-url", Patience: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(questions.Close)
	if err := questions.WaitFor(t.Context(), a.Receipt, patience); err != nil {
		t.Fatal(err)
	}
	if n := rows(t, questions, "event = 'help' AND user_id = 'ada' AND ip = '203.0.113.9'"); n != 1 {
		t.Errorf("%d rows have the client's address", n)
	}
	if status, text := in.request(t, "GET", "/v1/users/ada?source=demo", "", api); status != http.StatusOK {
		t.Errorf("a user, with an API key: %d %s", status, text)
	}

	added := map[string]string{"X-Write-Key": addSource(t, in, "added")}
	testkit.Eventually(t, "the key of a source that was added asks", func() bool {
		status, _ := in.request(t, "POST", "/v1/ask", `{"user_id":"eve","event_type":"help"}`, added)
		return status == http.StatusOK
	})
	if status, text := in.request(t, "POST", "/v1/sql", "SELECT 1", added); status != http.StatusForbidden {
		t.Errorf("and asks SQL: %d %s", status, text)
	}
}

// addSource adds one as `millrace source add` does, and returns its key when the door takes it.
func addSource(t *testing.T, in *installation, name string) (key string) {
	t.Helper()
	cfg := bus.Config{URL: in.NATS}
	nc, js, err := cfg.Connect("test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	testkit.Eventually(t, "NATS is connected", nc.IsConnected)
	store, err := sources.Open(t.Context(), js, cfg.Names())
	if err != nil {
		t.Fatal(err)
	}
	key, k := sources.NewKey(time.Now(), "")
	if _, err := store.Add(t.Context(), sources.Record{Name: name, Keys: []sources.Key{k}}); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the door takes the key", func() bool {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, in.Ingest+"/v1/events", strings.NewReader(`{"userId":"eve","event":"seen"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Write-Key", key)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return key
}

// TestAsksCanNeedAnAPIKey: write keys stay what they are at the door, and open nothing of query.
func TestAsksCanNeedAnAPIKey(t *testing.T) {
	const apiKey = "the-key-of-the-operator"
	in := start(t, func(c *Config) { c.APIKeys, c.AskNeedsAPIKey = []string{apiKey}, true })
	event := `{"user_id":"ada","event_type":"help"}`
	if status, text := in.request(t, "POST", "/v1/ask", event, map[string]string{"X-Write-Key": in.WriteKey}); status != http.StatusUnauthorized {
		t.Errorf("with a write key: %d %s", status, text)
	}
	added := addSource(t, in, "added")
	if status, text := in.request(t, "POST", "/v1/ask", event, map[string]string{"X-Write-Key": added}); status != http.StatusUnauthorized {
		t.Errorf("with the key of a source that was added: %d %s", status, text)
	}
	if status, text := in.request(t, "POST", "/v1/ask?source="+in.Source, event, map[string]string{"Authorization": "Bearer " + apiKey}); status != http.StatusOK {
		t.Errorf("with an API key: %d %s", status, text)
	}
}
