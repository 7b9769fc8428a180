//go:build failpoint

package points

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/localdb"
	"github.com/millrace/millrace/libs/testkit"
)

const (
	writeKey = "points-key"
	source   = "points"
)

// mill is a Millrace whose servers and services live as long as the table, but
// for the service whose turn it is.
type mill struct {
	bin   string
	env   []string // of the three services that write
	slow  bool     // frames and blocks wait so long that a clock can be set meanwhile
	clock string   // file of the clock of those three
	nats  *testkit.NATS
	js    jetstream.JetStream
	names bus.Names
	db    *testkit.ClickHouse
	reads driver.Conn
	on    map[string]*process // the one of each service that works
	query string              // its address

	mu    sync.Mutex // guards doors
	doors []string   // addresses of ingesters, those that may be stopped first
}

// newMill starts everything. Streams are small, so that they are trimmed, and
// what was handed out is handed out again after a second.
func newMill(t *testing.T, slow bool) *mill {
	dir := t.TempDir()
	m := &mill{bin: dir, slow: slow, clock: filepath.Join(dir, "clock"), names: bus.Names{Prefix: bus.DefaultPrefix}, on: map[string]*process{}}
	m.env = []string{"MILLRACE_CLOCK_FILE=" + m.clock}
	m.set(t, 0)
	build(t, m.bin, "failpoint", "ingester", "enricher", "indexer", "query")
	m.nats = testkit.StartNATS(t)
	m.js = m.nats.Connect()
	_, err := bus.Provision(t.Context(), m.js, m.names, bus.Plan{
		Shards: 2, MaxIn: 1 << 20, Sizes: bus.Sizes{In: 16 << 20, Raw: 2 << 20, Enriched: 2 << 20, Dead: 16 << 20},
	})
	if err != nil {
		t.Fatal(err)
	}
	for stream, durable := range map[string]string{
		m.names.StreamIn(): m.names.DurableIngester(), m.names.StreamDead(): m.names.DurableDeadLetters(),
	} {
		c, err := m.js.Consumer(t.Context(), stream, durable)
		if err != nil {
			t.Fatal(err)
		}
		cfg := c.CachedInfo().Config
		cfg.AckWait = time.Second
		if _, err := m.js.UpdateConsumer(t.Context(), stream, cfg); err != nil {
			t.Fatal(err)
		}
	}
	m.db = testkit.StartClickHouse(t)
	m.db.Exec("ALTER TABLE events ADD CONSTRAINT points CHECK event != 'Poison'")
	m.reads = m.db.Open(localdb.ReaderUser)
	t.Cleanup(func() {
		for _, p := range m.on {
			p.end()
		}
	})
	for _, name := range []string{"query", "indexer", "enricher", "ingester"} {
		m.on[name] = m.start(t, name)
	}
	return m
}

// set sets the clock.
func (m *mill) set(t *testing.T, offset time.Duration) {
	t.Helper()
	next := m.clock + ".next"
	if err := os.WriteFile(next, []byte(offset.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, m.clock); err != nil {
		t.Fatal(err)
	}
}

// start starts a service, armed if points are given.
func (m *mill) start(t *testing.T, name string, points ...string) *process {
	t.Helper()
	return m.startWith(t, name, nil, points...)
}

// startWith is start with further arguments.
func (m *mill) startWith(t *testing.T, name string, more []string, points ...string) *process {
	t.Helper()
	env := []string{"NATS_URL=" + m.nats.URL, "MILLRACE_WRITE_KEYS=" + source + ":" + writeKey, "MILLRACE_FAILPOINTS=" + strings.Join(points, ",")}
	args := []string{"--admin-addr", "127.0.0.1:0"}
	if name != "query" {
		env = append(env, m.env...)
	}
	switch name {
	case "ingester":
		door := testkit.FreeAddr(t)
		args = append(args, "--ingest-addr", door, "--manage-streams=false", "--hold", "2s")
		if m.slow {
			args = append(args, "--linger", "150ms")
		}
		m.mu.Lock()
		m.doors = append(m.doors, door)
		if len(m.doors) > 2 {
			m.doors = m.doors[1:]
		}
		m.mu.Unlock()
	case "enricher":
		args = append(args, "--lease-ttl", "2s")
	case "indexer":
		args = append(args, "--lease-ttl", "2s", "--trim-every", "500ms", "--clickhouse-url", m.db.Config(localdb.WriterUser).URL)
		if m.slow {
			args = append(args, "--flush-min", "300ms")
		}
	case "query":
		m.query = testkit.FreeAddr(t)
		args = append(args, "--query-addr", m.query, "--clickhouse-http-url", m.db.Addrs().HTTP,
			"--clickhouse-user", localdb.ReaderUser, "--clickhouse-password", m.db.Password(localdb.ReaderUser))
	}
	return launch(t, m.bin+"/"+name, env, append(args, more...)...)
}

// forget removes the leases of a service whose only process is dead or stopped:
// others would do so after the time that a holder may be silent.
func (m *mill) forget(t *testing.T, service string) {
	t.Helper()
	kv, err := m.js.KeyValue(t.Context(), m.names.BucketLeases())
	if err != nil {
		t.Fatal(err)
	}
	keys, err := kv.ListKeysFiltered(t.Context(), service+".member.*", service+".shard.*")
	if err != nil {
		t.Fatal(err)
	}
	for key := range keys.Keys() {
		if err := kv.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
}

// exact waits until all events of a load are there, and checks that each is
// once, and that verify agrees over the whole life of the mill.
func (m *mill) exact(t *testing.T, l *load) {
	t.Helper()
	const counts = "SELECT count(), uniqExact(event_id) FROM events WHERE startsWith(event_id, ?)"
	const letters = "SELECT uniqExact(JSONExtractString(original, 'messageId')) FROM dead_letters WHERE position(original, ?) > 0"
	var rows, distinct, dead uint64
	count := func() {
		t.Helper()
		if err := m.reads.QueryRow(t.Context(), counts, l.prefix).Scan(&rows, &distinct); err != nil {
			t.Fatal(err)
		}
		// A refused event that is sent again is a dead letter again, of another
		// frame: its repeat cannot be told.
		row := m.reads.QueryRow(t.Context(), letters, `"`+l.prefix)
		if err := row.Scan(&dead); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if count(); rows >= l.rows && dead >= l.dead {
			break
		}
	}
	ok, text := m.verify(t)
	if count(); rows != l.rows || distinct != l.rows || dead != l.dead {
		t.Errorf("%s: accepted %d and %d refused, rows %d, distinct %d, dead letters %d", l.prefix, l.rows, l.dead, rows, distinct, dead)
	}
	if !ok {
		t.Errorf("verify does not agree: %s", text)
	}
}

// verify asks the query service.
func (m *mill) verify(t *testing.T) (ok bool, text string) {
	t.Helper()
	resp, err := http.Post("http://"+m.query+"/v1/verify?wait=20s", "application/json", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSpace(body), []byte("\n"))
	var last struct{ Report struct{ OK bool } }
	if err := json.Unmarshal(lines[len(lines)-1], &last); err != nil {
		t.Fatalf("verify answered %q: %v", body, err)
	}
	return last.Report.OK, string(lines[len(lines)-1])
}
