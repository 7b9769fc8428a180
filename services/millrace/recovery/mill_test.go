package recovery

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
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
)

// mill is a whole installation: real servers, and the four services in this
// process, which run from start to stop.
type mill struct {
	*testing.T
	nats  *testkit.NATS
	store string // NATS's files
	db    *testkit.ClickHouse
	names bus.Names

	services []func()
	door     string
	verifier *query.Service

	window   time.Duration // for which ids are kept known; 0: an hour
	sent     int
	accepted map[string]bool // ids that the door has answered for
}

const (
	writeKey = "recovery-key"
	shards   = 2
)

func newMill(t *testing.T) *mill {
	t.Helper()
	m := &mill{T: t, store: t.TempDir(), names: bus.Names{Prefix: bus.DefaultPrefix}, accepted: map[string]bool{}}
	m.nats = testkit.StartNATS(t, func(o *server.Options) { o.StoreDir = m.store })
	m.db = testkit.StartClickHouse(t)
	t.Cleanup(m.stop)
	return m
}

func (m *mill) must(err error) {
	m.Helper()
	if err != nil {
		m.Fatal(err)
	}
}

// plan of small streams.
func plan() bus.Plan {
	return bus.Plan{Shards: shards, Sinks: 1, Sizes: bus.Sizes{In: 64 << 20, Raw: 64 << 20, Enriched: 64 << 20, Dead: 64 << 20}, MaxIn: 4 << 20}
}

// start runs services: all four, or those that are named.
func (m *mill) start(which ...string) {
	m.Helper()
	if len(which) == 0 {
		which = []string{"ingester", "enricher", "indexer", "query"}
	}
	conn := bus.Config{URL: m.nats.URL}
	log := slog.New(slog.DiscardHandler)
	for _, name := range which {
		var s svc.Service
		var err error
		reg, health := prometheus.NewRegistry(), svc.NewHealth()
		switch name {
		case "ingester":
			var keys writekey.Keys
			m.must(keys.Add("shop", writeKey))
			var in *ingester.Ingester
			in, err = ingester.New(ingester.Config{
				Bus: conn, Addr: "127.0.0.1:0", WriteKeys: keys, ManageStreams: true, Plan: plan(), Log: log, Reg: reg, Health: health,
			})
			m.must(err)
			m.door = "http://" + in.Addr() + "/v1/events"
			s = in
		case "enricher":
			s, err = enricher.New(enricher.Config{Bus: conn, LeaseTTL: 2 * time.Second, Log: log, Reg: reg, Health: health})
		case "indexer":
			s, err = indexer.New(indexer.Config{
				Bus: conn, DB: m.db.Config(localdb.WriterUser), LeaseTTL: 2 * time.Second, Log: log, Reg: reg, Health: health,
			})
		case "query":
			var q *query.Service
			q, err = query.New(query.Config{
				Bus: conn, Addr: "127.0.0.1:0", Log: log, Reg: reg, Health: health,
				ClickHouse: query.ClickHouse{URL: m.db.Addrs().HTTP, User: localdb.ReaderUser, Password: svc.Secret(m.db.Password(localdb.ReaderUser)), Database: localdb.Database},
			})
			m.verifier = q
			s = q
		}
		m.must(err)
		ctx, cancel := context.WithCancel(context.WithoutCancel(m.Context()))
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		m.services = append(m.services, func() {
			cancel()
			if err := <-done; err != nil {
				m.Logf("%s ended: %v", name, err)
			}
		})
	}
}

// stop ends the services in the order in which they were started.
func (m *mill) stop() {
	for _, end := range m.services {
		end()
	}
	m.services = nil
}

// send sends n good events, a few a request, and remembers what was accepted.
func (m *mill) send(n int) {
	m.Helper()
	for n > 0 {
		k := min(n, 7)
		n -= k
		var body []string
		var ids []string
		for range k {
			m.sent++
			id := fmt.Sprintf("event-%d", m.sent)
			ids = append(ids, id)
			body = append(body, fmt.Sprintf(`{"userId":"u%d","event":"Sent","messageId":%q,"properties":{"n":%d}}`, m.sent%13, id, m.sent))
		}
		m.post(strings.Join(body, "\n"))
		for _, id := range ids {
			m.accepted[id] = true
		}
	}
}

// post repeats a request until the door takes it.
func (m *mill) post(body string) {
	m.Helper()
	testkit.Eventually(m, "the door takes events", func() bool { return m.try(m.Context(), body) })
}

// try says whether the door takes a request.
func (m *mill) try(ctx context.Context, body string) bool {
	m.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.door, strings.NewReader(body))
	m.must(err)
	req.Header.Set("X-Write-Key", writeKey)
	req.Header.Set("Content-Type", "application/x-ndjson")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// bad sends events that become dead letters.
func (m *mill) bad(n int) {
	for i := range n {
		m.post(fmt.Sprintf(`{"event":"nobody %d"}`, i))
	}
}

// settled waits until everything that RAW holds is proven.
func (m *mill) settled() {
	m.Helper()
	js := m.nats.Connect()
	testkit.Eventually(m, "everything is proven", func() bool {
		for shard := range shards {
			raw, err := js.Stream(m.Context(), m.names.StreamRaw(shard))
			if err != nil {
				return false
			}
			if m.share(js, shard).Proven < raw.CachedInfo().State.LastSeq {
				return false
			}
		}
		return true
	})
}

// answered waits until ENRICHED answers everything that RAW holds.
func (m *mill) answered() {
	m.Helper()
	js := m.nats.Connect()
	last := func(stream string) uint64 {
		s, err := js.Stream(m.Context(), stream)
		m.must(err)
		return s.CachedInfo().State.LastSeq
	}
	testkit.Eventually(m, "everything is answered", func() bool {
		for shard := range shards {
			if last(m.names.StreamEnriched(shard)) < last(m.names.StreamRaw(shard)) {
				return false
			}
		}
		return true
	})
}

// settledIn waits for rows of events that came through the NATS door.
func (m *mill) settledIn(n uint64) {
	m.Helper()
	testkit.Eventually(m, "rows of the NATS door", func() bool { return m.db.Count("SELECT count() FROM events WHERE event = 'In'") >= n })
	m.settled()
}

func (m *mill) share(js jetstream.JetStream, shard int) bus.Share {
	ledger, err := js.Stream(m.Context(), m.names.StreamLedger())
	if err != nil {
		return bus.Share{}
	}
	rec, _, err := bus.LedgerLast(m.Context(), ledger, m.names, 0)
	if err != nil {
		return bus.Share{}
	}
	return rec.Share(shard)
}

// streams are the files of streams, "" for all.
func (m *mill) stream(name string) string {
	if name == "" {
		return m.store
	}
	return filepath.Join(m.store, "jetstream", "$G", "streams", name)
}

// copied is a copy of files.
func (m *mill) copied(from string) string {
	m.Helper()
	to := filepath.Join(m.TempDir(), "copy")
	m.must(os.CopyFS(to, os.DirFS(from)))
	return to
}

func (m *mill) replace(dir, with string) {
	m.Helper()
	m.must(os.RemoveAll(dir))
	if with != "" {
		m.must(os.CopyFS(dir, os.DirFS(with)))
	}
}

// backup copies NATS's streams while it is stopped.
func (m *mill) backup(names ...string) map[string]string {
	m.Helper()
	m.nats.Stop()
	copies := map[string]string{}
	for _, n := range names {
		copies[n] = m.copied(m.stream(n))
	}
	m.nats.Start()
	return copies
}

// restore puts copies back; an empty one leaves nothing.
func (m *mill) restore(copies map[string]string) {
	m.Helper()
	m.nats.Stop()
	for n, c := range copies {
		m.replace(m.stream(n), c)
	}
	m.nats.Start()
}

func (m *mill) config() Config {
	return Config{
		Bus: bus.Config{URL: m.nats.URL}, DB: m.db.Config(localdb.WriterUser), Plan: plan(), Alone: true, Dir: m.TempDir(), Window: m.window,
		Log: slog.New(slog.NewTextHandler(m.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})), Progress: func(s string) { m.Log("...", s) },
	}
}

func (m *mill) look() Report {
	m.Helper()
	v, err := New(m.config())
	m.must(err)
	rep, err := v.Look(m.Context())
	m.must(err)
	return rep
}

func (m *mill) apply(change ...func(*Config)) (Report, error) {
	m.Helper()
	cfg := m.config()
	for _, f := range change {
		f(&cfg)
	}
	v, err := New(cfg)
	m.must(err)
	return v.Apply(m.Context())
}

// recovered looks, which must want to do it, and applies.
func (m *mill) recovered(do string) Report {
	m.Helper()
	looked := m.look()
	m.show("found", looked)
	if looked.Do != do {
		m.Fatalf("it wants to do %s, want %s", looked.Do, do)
	}
	rep, err := m.apply()
	m.must(err)
	m.show("done", rep)
	if lost, _ := rep.Lost(); !rep.Applied || rep.File == "" {
		m.Errorf("applied %v, file %q, lost %d", rep.Applied, rep.File, lost)
	}
	before, _ := looked.Lost()
	if after, _ := rep.Lost(); before != after {
		m.Errorf("the look said %d lost, it was %d", before, after)
	}
	return rep
}

func (m *mill) show(what string, r Report) {
	m.Helper()
	text, err := json.Marshal(r)
	m.must(err)
	m.Logf("%s: %s", what, text)
}

// counted starts everything, sends more, and checks that what was accepted is
// there once but for what was lost.
func (m *mill) counted(lost int) {
	m.Helper()
	if m.services == nil {
		m.start()
	}
	m.send(30)
	m.settled()
	rows, distinct := m.db.Count("SELECT count() FROM events WHERE event = 'Sent'"), m.db.Count("SELECT uniqExact(event_id) FROM events WHERE event = 'Sent'")
	if want := uint64(len(m.accepted) - lost); rows != want || distinct != want {
		m.Errorf("accepted %d, lost %d; rows %d, distinct %d", len(m.accepted), lost, rows, distinct)
	}
}

// exact is counted, and verify has to say the same.
func (m *mill) exact(lost int) query.Report {
	m.Helper()
	m.counted(lost)
	var r query.Report
	testkit.Eventually(m, "verify answers", func() bool {
		var err error
		r, err = m.verifier.Verify(m.Context(), query.VerifyOptions{Wait: 20 * time.Second}, nil)
		return err == nil
	})
	text, err := json.Marshal(r)
	m.must(err)
	if !r.OK || r.Lost != uint64(lost) || r.Pending != 0 {
		m.Errorf("verify: %s", text)
	}
	if r.Accepted != r.Rows+r.Dead+r.Repeats+r.Lost {
		m.Errorf("verify does not add up: %s", text)
	}
	m.Logf("verify: %s", text)
	return r
}
