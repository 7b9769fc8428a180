package asks

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/bus/writekey"
	"github.com/millrace/millrace/libs/localdb"
	"github.com/millrace/millrace/libs/svc"
	"github.com/millrace/millrace/libs/testkit"
	"github.com/millrace/millrace/services/enricher"
	"github.com/millrace/millrace/services/indexer"
	"github.com/millrace/millrace/services/ingester"
	"github.com/millrace/millrace/services/query"
	"github.com/millrace/millrace/services/query/users"
)

const (
	shop     = "shop"
	writeKey = "a-key-of-the-shop"
	shards   = 4
)

// mill is a whole installation: real servers, and services in this process.
type mill struct {
	*testing.T
	nats *testkit.NATS
	db   *testkit.ClickHouse
	js   jetstream.JetStream
	inst bus.Installation
	door string // URL of the HTTP door

	stops map[string]func() // by service
}

func newMill(t *testing.T) *mill {
	t.Helper()
	m := &mill{T: t, nats: testkit.StartNATS(t), db: testkit.StartClickHouse(t), stops: map[string]func(){}}
	m.js = m.nats.Connect()
	m.inst = m.nats.Provision(m.js, shards)
	t.Cleanup(func() {
		for name := range m.stops {
			m.stop(name)
		}
	})
	m.start("ingester")
	m.start("enricher")
	m.start("indexer")
	return m
}

func (m *mill) must(err error) {
	m.Helper()
	if err != nil {
		m.Fatal(err)
	}
}

func (m *mill) run(name string, s svc.Service, err error) {
	m.Helper()
	m.must(err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(m.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	m.stops[name] = func() {
		cancel()
		if err := <-done; err != nil {
			m.Errorf("%s: %v", name, err)
		}
	}
}

func (m *mill) stop(name string) {
	m.stops[name]()
	delete(m.stops, name)
}

// start runs one of the services before query.
func (m *mill) start(name string) {
	m.Helper()
	conn := bus.Config{URL: m.nats.URL}
	log := slog.New(slog.DiscardHandler)
	reg, health := prometheus.NewRegistry(), svc.NewHealth()
	switch name {
	case "ingester":
		var keys writekey.Keys
		m.must(keys.Add(shop, writeKey))
		in, err := ingester.New(ingester.Config{Bus: conn, Addr: "127.0.0.1:0", WriteKeys: keys, Log: log, Reg: reg, Health: health})
		m.run(name, in, err)
		m.door = "http://" + in.Addr() + "/v1/events"
	case "enricher":
		e, err := enricher.New(enricher.Config{Bus: conn, Log: log, Reg: reg, Health: health})
		m.run(name, e, err)
	case "indexer":
		x, err := indexer.New(indexer.Config{Bus: conn, DB: m.db.Config(localdb.WriterUser), Log: log, Reg: reg, Health: health})
		m.run(name, x, err)
	}
}

// query runs a query service and returns its URL once it follows everything.
func (m *mill) query(name string, change func(*query.Config)) string {
	m.Helper()
	cfg := query.Config{
		Bus: bus.Config{URL: m.nats.URL}, Addr: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry(), Health: svc.NewHealth(),
		ClickHouse: m.reader(),
	}
	change(&cfg)
	q, err := query.New(cfg)
	m.run(name, q, err)
	base := "http://" + q.Addr().String()
	m.ready(base)
	return base
}

func (m *mill) reader() query.ClickHouse {
	return query.ClickHouse{
		URL: m.db.Addrs().HTTP, User: localdb.ReaderUser, Password: svc.Secret(m.db.Password(localdb.ReaderUser)), Database: localdb.Database,
	}
}

// ready waits until a query service answers about a user.
func (m *mill) ready(base string) {
	m.Helper()
	var a answer
	var err error
	defer func() {
		if m.Failed() {
			m.Logf("it says %s, %v", a, err)
		}
	}()
	testkit.Eventually(m, "the query service is ready", func() bool {
		a, err = about(m.Context(), base, users.User{ID: "nobody"}, nil)
		return err == nil && a.status == http.StatusOK
	})
}

// answer is one of HTTP.
type answer struct {
	status int
	header http.Header
	text   []byte
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, a.text) }

// context reads a good answer about a user.
func (a answer) context() (c *users.Context, err error) {
	if a.status != http.StatusOK {
		return nil, fmt.Errorf("it is no answer: %s", a)
	}
	return c, json.Unmarshal(a.text, &c)
}

func call(ctx context.Context, method, url, body string) (a answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return a, err
	}
	req.Header.Set("Content-Type", "application/json")
	if method == http.MethodPost && strings.HasSuffix(url, "/v1/events") { // the query service is open here
		req.Header.Set("X-Write-Key", writeKey)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return a, err
	}
	defer func() { _ = res.Body.Close() }() // it was only read
	a = answer{status: res.StatusCode, header: res.Header}
	a.text, err = io.ReadAll(res.Body)
	return a, err
}

// ask sends an event as a request about its user.
func ask(ctx context.Context, base, body string, params url.Values) (answer, error) {
	return call(ctx, http.MethodPost, base+"/v1/ask?"+withSource(params), body)
}

func about(ctx context.Context, base string, who users.User, params url.Values) (answer, error) {
	text := withSource(params)
	if who.Anonymous {
		text += "&anonymous=true"
	}
	return call(ctx, http.MethodGet, base+"/v1/users/"+url.PathEscape(who.ID)+"?"+text, "")
}

func withSource(params url.Values) string {
	all := url.Values{"source": {shop}}
	maps.Copy(all, params)
	return all.Encode()
}

// post sends an event through the HTTP door, publish through that of NATS; both return when it is acknowledged.
func (m *mill) post(body string) error {
	a, err := call(m.Context(), http.MethodPost, m.door, body)
	if err != nil {
		return err
	}
	if a.status != http.StatusOK {
		return fmt.Errorf("the door says: %s", a)
	}
	return nil
}

func (m *mill) publish(body string) error {
	_, err := m.js.Publish(m.Context(), m.inst.Names.In(shop), []byte(body))
	return err
}
