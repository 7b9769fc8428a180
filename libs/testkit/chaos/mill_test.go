package chaos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/millrace/millrace/libs/localdb"
	"github.com/millrace/millrace/libs/testkit"
)

// mill is a whole Millrace: two processes of every service, NATS, ClickHouse.
type mill struct {
	t        *testing.T
	bin      string
	db       *testkit.ClickHouse
	natsPort int
	natsDir  string
	rawSize  string // of each RAW and ENRICHED stream
	nats     *process
	services map[string][2]*process
	doors    [2]string // addresses of the ingesters
	queries  [2]string
}

const (
	writeKey = "chaos-key"
	source   = "chaos"
)

func newMill(t *testing.T) *mill {
	m := &mill{t: t, bin: build(t), natsPort: freePort(t), natsDir: t.TempDir(), rawSize: "512MiB", services: map[string][2]*process{}}
	m.db = testkit.StartClickHouse(t)
	return m
}

func (m *mill) startNATS() {
	self, err := os.Executable()
	if err != nil {
		m.t.Fatal(err)
	}
	m.nats = launch(m.t, "nats", self, []string{envNATSDir + "=" + m.natsDir, envNATSPort + "=" + strconv.Itoa(m.natsPort)})
}

// startService starts two processes of a service.
func (m *mill) startService(name string) {
	env := []string{"NATS_URL=nats://" + address(m.natsPort), "MILLRACE_WRITE_KEYS=" + source + ":" + writeKey}
	var pair [2]*process
	for i := range pair {
		args := []string{"--admin-addr", "127.0.0.1:0"}
		switch name {
		case "ingester":
			m.doors[i] = address(freePort(m.t))
			// Two sinks, so that each of two indexers has one that can be taken from it.
			args = append(args, "--ingest-addr", m.doors[i], "--sinks", "2",
				"--raw-size", m.rawSize, "--enriched-size", m.rawSize, "--in-size", "256MiB", "--dead-size", "64MiB")
		case "indexer":
			args = append(args, "--clickhouse-url", m.db.Config(localdb.WriterUser).URL)
		case "query":
			m.queries[i] = address(freePort(m.t))
			args = append(args, "--query-addr", m.queries[i], "--clickhouse-http-url", m.db.Addrs().HTTP,
				"--clickhouse-user", localdb.ReaderUser, "--clickhouse-password", m.db.Password(localdb.ReaderUser))
		}
		pair[i] = launch(m.t, fmt.Sprintf("%s-%d", name, i), m.bin+"/"+name, env, args...)
	}
	m.services[name] = pair
}

// proven is the last frame of each shard that has rows.
func (m *mill) proven() (last [4]uint64) {
	for shard := range last {
		last[shard] = m.db.Count("SELECT max(_seq) FROM events WHERE _shard = ?", shard)
	}
	return last
}

// report is the last line of POST /v1/verify.
type report struct {
	OK       bool `json:"ok"`
	Accepted uint64
	Rows     uint64
	Dead     uint64
	Repeats  uint64
	Findings []json.RawMessage
}

// verify asks the first query process until it answers.
func (m *mill) verify() (r report, text string) {
	m.t.Helper()
	testkit.Eventually(m.t, "verify answers", func() bool {
		resp, err := http.Post("http://"+m.queries[0]+"/v1/verify?wait=30s", "application/json", nil)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			text = string(body)
			return false
		}
		lines := bytes.Split(bytes.TrimSpace(body), []byte("\n"))
		text = string(lines[len(lines)-1])
		var last struct{ Report report }
		err = json.Unmarshal(lines[len(lines)-1], &last)
		r = last.Report
		return err == nil
	})
	return r, text
}

// exact checks the verdict: what producers were told is accepted is what is
// there.
func (m *mill) exact(accepted uint64) {
	m.t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	var rows uint64
	for rows < accepted && time.Now().Before(deadline) {
		rows = m.db.Count("SELECT count() FROM events")
		time.Sleep(50 * time.Millisecond)
	}
	distinct := m.db.Count("SELECT uniqExact(event_id) FROM events")
	r, text := m.verify()
	m.t.Logf("accepted %d, rows %d, distinct %d; verify %s", accepted, rows, distinct, text)
	if rows != accepted || distinct != accepted {
		m.t.Errorf("accepted %d, rows %d, distinct %d", accepted, rows, distinct)
	}
	if !r.OK || r.Rows != accepted {
		m.t.Errorf("verify does not agree: %s", text)
	}
}
