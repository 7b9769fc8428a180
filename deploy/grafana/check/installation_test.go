package check

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/testkit"
	"github.com/millrace/millrace/services/millrace/client"
	"github.com/millrace/millrace/services/millrace/demo"
	"github.com/millrace/millrace/services/millrace/up"
)

const (
	rounds      = 5
	perRound    = 500 // events
	betweenActs = 1200 * time.Millisecond
	shopSource  = "demo"
)

// installation is a whole Millrace in this process, which has seen the traffic of a shop and of those who ask about it.
type installation struct {
	up.Ready
	dir      string
	from, to time.Time // of the events
	door     *client.Client
	asks     *client.Client // of the query service, without a key: it is on loopback
	users    *client.Client // of the query service, with the source's key
	*scrapes
}

// start runs one; it ends with the test.
func start(t *testing.T) *installation {
	t.Helper()
	in := &installation{dir: t.TempDir()}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	said := &bytes.Buffer{}
	go func() {
		ended <- up.Run(ctx, up.Config{
			Dir: in.dir, MaxDisk: 2 << 30, Shards: 2, IngestAddr: "127.0.0.1:0", QueryAddr: "127.0.0.1:0", AdminAddr: "127.0.0.1:0",
			Source: shopSource, Durability: "process", DedupWindow: time.Hour, DemoRate: 1, DrainTimeout: time.Minute,
			Out: io.Discard, Log: slog.New(slog.NewTextHandler(said, nil)),
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("stop: %v", err)
		}
		if t.Failed() {
			t.Logf("the installation logged:\n%s", said)
		}
	})
	testkit.Eventually(t, "the installation is ready", func() bool {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("it ended: %v", err)
		default:
		}
		var err error
		in.Ready, err = up.ReadReady(in.dir)
		return err == nil
	})
	in.door, in.asks, in.users = newClient(t, in.Ingest, in.WriteKey), newClient(t, in.Query, ""), newClient(t, in.Query, in.WriteKey)
	return in
}

func newClient(t *testing.T, at, key string) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{URL: at, Key: key, Flag: "url", Patience: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// unsent: with the time of sending, all would be taken for the traffic of this moment by a clock that is wrong.
var unsent = regexp.MustCompile(`"sentAt":"[^"]*",`)

// live lets the shop have an hour's visitors within moments, by all doors, with what is refused and what is sent twice,
// and asks for answers of all kinds. It is scraped between, and once before.
func (in *installation) live(t *testing.T) {
	t.Helper()
	testkit.Eventually(t, "the query service has looked at the shards", func() bool {
		body, _ := in.metrics(t)
		return bytes.Contains(body, []byte("millrace_query_shard_lag_frames{"))
	})
	in.to = time.Now().Truncate(time.Millisecond)
	in.from = in.to.Add(-rounds * perRound * betweenActs)
	in.scrapes = newScrapes(in.to)
	in.scrape(t)
	nc, err := nats.Connect(in.NATS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	shop, at := demo.NewShop(7, "check"), in.from
	for round := range rounds {
		var body, again bytes.Buffer
		for i := range perRound {
			event := append(unsent.ReplaceAll(shop.Next(at), nil), '\n')
			at = at.Add(betweenActs)
			body.Write(event)
			if i%10 == 0 {
				again.Write(event)
			}
		}
		receipt := in.post(t, body.Bytes())
		in.post(t, again.Bytes())
		if _, err := js.Publish(t.Context(), "millrace.in."+shopSource, fmt.Appendf(nil, `{"userId":"n%d","event":"Mail Opened"}`, round)); err != nil {
			t.Fatal(err)
		}
		in.question(t, receipt)
		in.scrape(t)
	}
	testkit.Eventually(t, "messages of the NATS door and dead letters are in ClickHouse", func() bool {
		return in.count(t, "SELECT count() FROM events WHERE event = 'Mail Opened'") == rounds && in.count(t, "SELECT count() FROM dead_letters") > 0
	})
	in.scrape(t)
	in.to = time.Now().Add(time.Second)
}

func (in *installation) post(t *testing.T, body []byte) (receipt string) {
	t.Helper()
	a, err := in.door.Post(t.Context(), client.Body{Type: "application/x-ndjson", Data: body})
	if err != nil {
		t.Fatal(err)
	}
	return a.Receipt
}

// question asks at every endpoint that has panels of its own, and one that is refused.
func (in *installation) question(t *testing.T, receipt string) {
	t.Helper()
	if err := in.asks.WaitFor(t.Context(), receipt, time.Minute); err != nil {
		t.Fatal(err)
	}
	var answer any
	if _, err := in.users.Ask(t.Context(), []byte(`{"user_id":"user-7","event_type":"help wanted"}`), nil, &answer); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/v1/users/user-7?source=" + shopSource, "/v1/reports/trend", "/v1/status"} {
		path, query, _ := strings.Cut(path, "?")
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := in.asks.Get(t.Context(), path, values, &answer); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := in.asks.SQL(t.Context(), client.Question{SQL: "SELECT no_such_column FROM events"}); err == nil {
		t.Fatal("a question without sense is answered")
	}
}

// count asks the query service.
func (in *installation) count(t *testing.T, sql string) int {
	t.Helper()
	answer, err := in.asks.SQL(t.Context(), client.Question{SQL: sql, Format: "TSV"})
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(answer)
	if err := errors.Join(err, answer.Close()); err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (in *installation) metrics(t *testing.T) (body []byte, contentType string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, in.Admin+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err = io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("/metrics: %s, %v", res.Status, err)
	}
	return body, res.Header.Get("Content-Type")
}

func (in *installation) scrape(t *testing.T) {
	t.Helper()
	if err := in.take(in.metrics(t)); err != nil {
		t.Fatalf("/metrics: %v", err)
	}
}

// environment is what docs/grafana.md gives Grafana, for this installation.
func (in *installation) environment(t *testing.T) map[string]string {
	t.Helper()
	var secrets struct {
		ClickHouse struct {
			Reader string `json:"millrace_reader"`
		} `json:"clickhouse_passwords"`
	}
	if err := json.Unmarshal(text(t, filepath.Join(in.dir, "secrets.json")), &secrets); err != nil {
		t.Fatal(err)
	}
	host, port, _ := strings.Cut(in.ClickHouseNative, ":")
	return map[string]string{
		"MILLRACE_CLICKHOUSE_HOST": host, "MILLRACE_CLICKHOUSE_NATIVE_PORT": port,
		"MILLRACE_CLICKHOUSE_READER_PASSWORD": secrets.ClickHouse.Reader,
		"MILLRACE_PROMETHEUS_URL":             "http://127.0.0.1:9091", "MILLRACE_DASHBOARDS": "/etc/millrace/dashboards",
	}
}
