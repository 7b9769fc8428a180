package check

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"gopkg.in/yaml.v3"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/testkit"
	"github.com/millrace/millrace/schemas/api"
)

// TestInstallation runs compose.yaml as processes and takes an event through each door to its row, a bad one to its dead
// letter, and lets the streams be trimmed, all under the users of nats-server.conf and users.xml.
func TestInstallation(t *testing.T) {
	i := startInstallation(t)
	i.migrate()
	i.migrate() // again: nothing to do
	services := []*process{
		i.start("query"), // in no good order: whoever comes first waits
		i.start("indexer", "--keep=1ms", "--trim-every=1s"),
		i.start("enricher"),
		i.start("ingester"),
	}
	for _, p := range services {
		i.healthy(p.name)
	}
	js, err := jetstream.New(i.as("admin"))
	if err != nil {
		t.Fatal(err)
	}

	// The HTTP door: one event, one that is none.
	var taken struct {
		Accepted int    `json:"accepted"`
		Rejected []any  `json:"rejected"`
		Receipt  string `json:"receipt"`
	}
	body := i.post("ingester", "8080", "/v1/events", "kweb",
		`[{"userId":"u1","event":"Order Completed","type":"track","properties":{"total":19.9}},{"event":"nobody"}]`)
	if err := json.Unmarshal([]byte(body), &taken); err != nil || taken.Accepted != 1 || len(taken.Rejected) != 1 {
		t.Fatalf("the HTTP door answers %s (%v)", body, err)
	}
	// The receipt covers the event: the answer to a question waits for its row.
	if got := i.post("query", "8090", "/v1/sql?format=TSV&after="+taken.Receipt, "kapi0123456789abcdef",
		"SELECT event, properties['total'], source FROM millrace.events"); strings.TrimSpace(got) != "Order Completed\t19.9\tweb" {
		t.Errorf("the row of the HTTP door reads %q", got)
	}

	// The NATS door: the publisher's acknowledgement is a receipt too.
	app, err := jetstream.New(i.as("app"))
	if err != nil {
		t.Fatal(err)
	}
	ack, err := app.Publish(t.Context(), names.In("app"), []byte(`{"user_id":"u2","event_type":"help_requested","event_data":{"topic":"billing"}}`))
	if err != nil {
		t.Fatalf("publish as app: %v", err)
	}
	if got := i.post("query", "8090", fmt.Sprintf("/v1/sql?format=TSV&after=in:%d", ack.Sequence), "kapi0123456789abcdef",
		"SELECT event, properties['topic'] FROM millrace.events WHERE source = 'app'"); strings.TrimSpace(got) != "help_requested\tbilling" {
		t.Errorf("the row of the NATS door reads %q", got)
	}

	i.asked()
	i.sourced()

	testkit.Eventually(t, "the dead letter is in ClickHouse", func() bool {
		return i.number("SELECT stage, reason, original FROM millrace.dead_letters") == `door	no_user	{"event":"nobody"}`
	})
	i.verified()
	i.leased(js)
	i.documented(js)
	i.trimmed(app, js)

	// New owners take over from dead ones, and read what those left.
	for n, name := range []string{"indexer", "enricher"} {
		services[1+n].kill()
		services[1+n] = i.start(name)
	}
	if _, err := app.Publish(t.Context(), names.In("app"), []byte(`{"user_id":"u3","event_type":"after_the_kill"}`)); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the row of a new owner", func() bool {
		return i.number("SELECT count() FROM millrace.events WHERE event = 'after_the_kill'") == "1"
	})
	i.verified()

	for _, service := range slices.Backward(services) {
		i.stop(service)
	}
}

// asked: an ask is stored and answered, its user is known, a report counts it, and it is seen live.
func (i *installation) asked() {
	i.t.Helper()
	var user struct {
		Profile struct{ Events int }
		Recent  []struct{ Event string }
		Receipt string
	}
	ask := i.post("query", "8090", "/v1/ask?source=web&timeout=30s", "kapi0123456789abcdef", `{"user_id":"u1","event_type":"help_requested"}`)
	if err := json.Unmarshal([]byte(ask), &user); err != nil || user.Receipt == "" || len(user.Recent) == 0 || user.Recent[0].Event != "help_requested" {
		i.t.Fatalf("an ask is answered with %s (%v)", ask, err)
	}
	after := "source=web&timeout=30s&after=" + user.Receipt
	testkit.Eventually(i.t, "both events of the user", func() bool {
		return json.Unmarshal([]byte(i.get("/v1/users/u1?"+after)), &user) == nil && user.Profile.Events == 2
	})
	if report := i.get("/v1/reports/trend?event=help_requested&last=1d&where=source%3Dweb&timeout=30s&after=" + user.Receipt); !strings.Contains(report, `"total":1`) {
		i.t.Errorf("the trend of asks: %s", report)
	}
	req, err := http.NewRequestWithContext(i.t.Context(), http.MethodGet, i.url("query", "8090", "/v1/live?source=web&since=1h&where=event+%3D%3D+%22help_requested%22"), nil)
	if err != nil {
		i.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer kapi0123456789abcdef")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		i.t.Fatal(err)
	}
	defer res.Body.Close()
	for lines := bufio.NewScanner(res.Body); ; {
		if !lines.Scan() {
			i.t.Fatalf("the live stream ends before the event: %s, %v", res.Status, lines.Err())
		}
		if strings.HasPrefix(lines.Text(), "data: ") && strings.Contains(lines.Text(), `"help_requested"`) {
			return
		}
	}
}

// sourced: a source that the administrator of NATS adds works at once and stops at once, at the services' own rights.
func (i *installation) sourced() {
	i.t.Helper()
	source := func(args ...string) []byte {
		i.t.Helper()
		return []byte(answer(i.t, program(i.t, command), i.env("migrate"), append([]string{"source"}, args...)...))
	}
	var made struct {
		WriteKey string `json:"write_key"`
	}
	if err := json.Unmarshal(source("add", "added", "--allow", "Sign Up", "--output", "json"), &made); err != nil {
		i.t.Fatal(err)
	}
	status := func() int {
		req, err := http.NewRequestWithContext(i.t.Context(), http.MethodPost, i.url("ingester", "8080", "/v1/events"), strings.NewReader(`{"userId":"u9","event":"Sign Up"}`))
		if err != nil {
			i.t.Fatal(err)
		}
		req.Header.Set("X-Write-Key", made.WriteKey)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			i.t.Fatal(err)
		}
		defer res.Body.Close()
		return res.StatusCode
	}
	testkit.Eventually(i.t, "the new key works", func() bool { return status() == http.StatusOK })
	source("rotate", "added")
	testkit.Eventually(i.t, "the key that was rotated out does not", func() bool { return status() == http.StatusUnauthorized })
	if list := string(source("list")); !strings.Contains(list, "added") {
		i.t.Errorf("the sources are\n%s", list)
	}
}

// get asks the query service.
func (i *installation) get(path string) string {
	i.t.Helper()
	return i.do(http.MethodGet, "query", "8090", path, "kapi0123456789abcdef", "")
}

// post sends a body with a key and returns the answer, which must be a good one.
func (i *installation) post(service, port, path, key, body string) string {
	i.t.Helper()
	return i.do(http.MethodPost, service, port, path, key, body)
}

func (i *installation) do(method, service, port, path, key, body string) string {
	i.t.Helper()
	req, err := http.NewRequestWithContext(i.t.Context(), method, i.url(service, port, path), strings.NewReader(body))
	if err != nil {
		i.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		i.t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		i.t.Fatalf("%s%s: %s %v: %s", service, path, res.Status, err, answer)
	}
	return string(answer)
}

// verified lets the query service reconcile everything, for which it reads every stream and both tables.
func (i *installation) verified() {
	i.t.Helper()
	i.post("query", "8090", "/v1/verify", "kapi0123456789abcdef", "")
}

// leased: every shard is held by an enricher and every sink by an indexer, under the same kind of key.
func (i *installation) leased(js jetstream.JetStream) {
	i.t.Helper()
	for service, lanes := range map[string]int{"enricher": 4, "indexer": bus.DefaultSinks} {
		for shard := range lanes {
			key := fmt.Sprintf("$KV.%s.%s.shard.%d", names.BucketLeases(), service, shard)
			stream, err := js.Stream(i.t.Context(), "KV_"+names.BucketLeases())
			if err != nil {
				i.t.Fatal(err)
			}
			if msg, err := stream.GetLastMsgForSubject(i.t.Context(), key); err != nil || len(msg.Data) == 0 {
				i.t.Errorf("%s has no holder: %v", key, err)
			}
		}
	}
}

// trimmed sends events of one user until the streams that they went through begin later than at 1.
func (i *installation) trimmed(app, js jetstream.JetStream) {
	i.t.Helper()
	first := func(name string) uint64 {
		s, err := js.Stream(i.t.Context(), name)
		if err != nil {
			i.t.Fatal(err)
		}
		return s.CachedInfo().State.FirstSeq
	}
	some := func(name func(int) string) bool {
		for shard := range 4 {
			if first(name(shard)) > 1 {
				return true
			}
		}
		return false
	}
	testkit.Eventually(i.t, "ENRICHED and DEAD are trimmed", func() bool {
		for _, body := range []string{`{"user_id":"u2","event_type":"again"}`, `no event`} {
			if _, err := app.PublishMsg(i.t.Context(), &nats.Msg{Subject: names.In("app"), Data: []byte(body)}); err != nil {
				i.t.Fatal(err)
			}
		}
		return some(names.StreamEnriched) && first(names.StreamDead()) > 1
	})
}

// documented: frames that the services wrote have the headers that the AsyncAPI document lists, all and no others.
func (i *installation) documented(js jetstream.JetStream) {
	i.t.Helper()
	var doc struct {
		Components struct {
			Messages map[string]struct {
				Headers struct {
					Properties map[string]any `yaml:"properties"`
				} `yaml:"headers"`
			} `yaml:"messages"`
		} `yaml:"components"`
	}
	if err := yaml.Unmarshal(api.AsyncAPI, &doc); err != nil {
		i.t.Fatal(err)
	}
	for message, stream := range map[string]func(int) string{"rawFrame": names.StreamRaw, "enrichedFrame": names.StreamEnriched} {
		want := slices.Sorted(maps.Keys(doc.Components.Messages[message].Headers.Properties))
		seen := 0
		for shard := range 4 {
			s, err := js.Stream(i.t.Context(), stream(shard))
			if err != nil {
				i.t.Fatal(err)
			}
			msg, err := s.GetMsg(i.t.Context(), s.CachedInfo().State.LastSeq)
			if err != nil {
				continue // nothing went through this shard
			}
			seen++
			for _, added := range []string{"Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp"} {
				delete(msg.Header, added) // by the direct get, not by the writer
			}
			if diff := cmp.Diff(want, slices.Sorted(maps.Keys(msg.Header))); diff != "" {
				i.t.Errorf("headers of %s (-document +message):\n%s", message, diff)
			}
		}
		if seen == 0 {
			i.t.Errorf("there is no %s to look at", message)
		}
	}
}
