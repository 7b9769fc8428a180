package compat

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/localdb"
	"github.com/millrace/millrace/libs/testkit"
	"github.com/millrace/millrace/libs/testkit/proxy"
)

// shards, so that an SDK's events take more than one way.
const shards = 2

// mill is a whole installation: NATS and ClickHouse of this test, the services
// as processes. NATS can be stopped, and its network stalled.
type mill struct {
	*testing.T
	nats *testkit.NATS
	wire *proxy.Proxy // between the services and NATS
	db   *testkit.ClickHouse
	js   jetstream.JetStream
	door string // http://127.0.0.1:port
	over atomic.Bool
}

// newMill starts an installation with a source of each name, whose write key
// is keyOf it.
func newMill(t *testing.T, sources []string) *mill {
	t.Helper()
	bin := build(t)
	m := &mill{T: t, nats: testkit.StartNATS(t), db: testkit.StartClickHouse(t)}
	m.wire = testkit.StartProxy(t, m.nats.URL)
	m.js = m.nats.Connect()
	m.nats.Provision(m.js, shards)
	addr := testkit.FreeAddr(t)
	m.door = "http://" + addr
	var keys []string
	for _, s := range sources {
		keys = append(keys, s+":"+keyOf(s))
	}
	m.start(bin, "ingester", "--ingest-addr", addr, "--write-keys", strings.Join(keys, ","), "--manage-streams=false")
	m.start(bin, "enricher")
	m.start(bin, "indexer", "--clickhouse-url", m.db.Addrs().URL(localdb.WriterUser, m.db.Password(localdb.WriterUser)))
	testkit.Eventually(t, "the door is open", func() bool {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return t.Failed()
		}
		return conn.Close() == nil
	})
	if t.Failed() {
		t.FailNow()
	}
	return m
}

func keyOf(source string) string { return "key-of-" + source }

// build compiles the services as `make build` does, so that nothing but linking
// is left to do after it.
func build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	// It goes into the cache's key: scripts/test changes it with every run.
	_ = os.Getenv("TEST_RUN")
	var group sync.WaitGroup
	for _, name := range []string{"ingester", "enricher", "indexer"} {
		group.Go(func() {
			cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", filepath.Join(dir, name), "./cmd/"+name)
			cmd.Dir = filepath.Join("..", "..", "..", "services", name)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("build %s: %v\n%s", name, err, out)
			}
		})
	}
	group.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return dir
}

// start runs a service until the test ends.
func (m *mill) start(bin, name string, args ...string) {
	m.Helper()
	said := &safeBuffer{}
	cmd := exec.Command(filepath.Join(bin, name), append(args, "--admin-addr", "127.0.0.1:0")...)
	cmd.Env = append(os.Environ(), "NATS_URL=nats://"+m.wire.Addr())
	cmd.Stdout, cmd.Stderr = said, said
	// Its input ends with this process, and dieWith makes that its end too.
	dieWith(cmd)
	if err := cmd.Start(); err != nil {
		m.Fatalf("%s: %v", name, err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := cmd.Wait(); !m.over.Load() {
			m.Errorf("%s ended: %v\n%s", name, err, said.last(4000))
		}
	}()
	m.Cleanup(func() {
		m.over.Store(true)
		_ = cmd.Process.Kill() // it may be gone
		<-ended
		if m.Failed() {
			m.Logf("the last of %s:\n%s", name, said.last(4000))
		}
	})
}

// safeBuffer is written by a process while the test may read it.
type safeBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *safeBuffer) last(n int) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := b.text.String()
	return text[max(0, len(text)-n):]
}

// row is a row of the table events: all columns as JSON texts.
type row map[string]json.RawMessage

func (r row) text(column string) string {
	var s string
	if err := json.Unmarshal(r[column], &s); err != nil {
		return string(r[column]) // a Bool
	}
	return s
}

func (r row) texts(column string) (m map[string]string) {
	if err := json.Unmarshal(r[column], &m); err != nil {
		panic(fmt.Sprintf("column %s is no map of texts: %s", column, r[column]))
	}
	return m
}

func (r row) numbers(column string) (m map[string]float64) {
	if err := json.Unmarshal(r[column], &m); err != nil {
		panic(fmt.Sprintf("column %s is no map of numbers: %s", column, r[column]))
	}
	return m
}

func (r row) time(t testing.TB, column string) time.Time {
	t.Helper()
	at, err := time.Parse("2006-01-02 15:04:05.000", r.text(column))
	if err != nil {
		t.Fatalf("column %s: %v", column, err)
	}
	return at
}

// rows are all rows of a source, in the order of their receipt.
func (m *mill) rows(t testing.TB, source string) []row {
	t.Helper()
	text := m.ask(t, "SELECT * EXCEPT (event_date) FROM events WHERE source = {source:String} ORDER BY received_at, _shard, _seq, _idx FORMAT JSONEachRow", source)
	var list []row
	for dec := json.NewDecoder(bytes.NewReader(text)); dec.More(); {
		var r row
		if err := dec.Decode(&r); err != nil {
			t.Fatal(err)
		}
		list = append(list, r)
	}
	return list
}

// count is how many rows a source has.
func (m *mill) count(t testing.TB, source string) int {
	t.Helper()
	text := m.ask(t, "SELECT count() FROM events WHERE source = {source:String} FORMAT TSVRaw", source)
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (m *mill) ask(t testing.TB, sql, source string) []byte {
	t.Helper()
	q := url.Values{"database": {localdb.Database}, "param_source": {source}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, m.db.Addrs().HTTP+"/?"+q.Encode(), strings.NewReader(sql))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(localdb.ReaderUser, m.db.Password(localdb.ReaderUser))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s %v", sql, res.StatusCode, text, err)
	}
	return text
}

// noDeadLetters fails if an event was refused.
func (m *mill) noDeadLetters(t testing.TB) {
	t.Helper()
	stream, err := m.js.Stream(t.Context(), bus.Names{Prefix: bus.DefaultPrefix}.StreamDead())
	if err != nil {
		t.Fatal(err)
	}
	state := stream.CachedInfo().State
	for seq := state.FirstSeq; state.Msgs > 0 && seq <= min(state.LastSeq, state.FirstSeq+9); seq++ {
		msg, err := stream.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		t.Errorf("a dead letter, one of %d: %s %s", state.Msgs, msg.Subject, msg.Data)
	}
}
