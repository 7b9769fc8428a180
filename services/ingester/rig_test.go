package ingester

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/svc"
)

// The write key of source "shop" in all tests.
const testKey = "k-shop"

// natsServer is a real JetStream server that can be stopped and started again
// on the same port and files.
type natsServer struct {
	t    *testing.T
	opts server.Options
	s    *server.Server
}

func startNATS(t *testing.T, change ...func(*server.Options)) *natsServer {
	t.Helper()
	n := &natsServer{t: t, opts: server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(),
		NoSigs: true, NoLog: true, MaxPayload: 8 << 20,
	}}
	for _, f := range change {
		f(&n.opts)
	}
	n.start()
	n.opts.Port = n.s.Addr().(*net.TCPAddr).Port
	t.Cleanup(n.stop)
	return n
}

func (n *natsServer) start() {
	n.t.Helper()
	opts := n.opts
	s, err := server.NewServer(&opts)
	if err != nil {
		n.t.Fatal(err)
	}
	go s.Start()
	if !s.ReadyForConnections(30 * time.Second) {
		n.t.Fatal("nats server is not ready")
	}
	n.s = s
}

func (n *natsServer) stop() {
	n.s.Shutdown()
	n.s.WaitForShutdown()
}

func (n *natsServer) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", n.opts.Port) }

// rig is an ingester over a real server, and a client's and reader's view.
type rig struct {
	t      *testing.T
	nats   *natsServer
	in     *Ingester
	nc     *nats.Conn
	js     jetstream.JetStream
	names  bus.Names
	shards int
	health *svc.Health
	read   map[int]uint64 // by fresh
	log    *logBuffer
	stop   func() error // once; further calls do nothing
}

// startRig runs an ingester with few and small streams.
func startRig(t *testing.T, n *natsServer, change ...func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, nats: n, health: svc.NewHealth(), log: &logBuffer{}, read: map[int]uint64{}, names: bus.Names{Prefix: bus.DefaultPrefix}}
	cfg := Config{
		Bus: bus.Config{URL: n.url()}, Addr: "127.0.0.1:0", ManageStreams: true,
		Plan: bus.Plan{Shards: 2, Sizes: bus.Sizes{In: 64 << 20, Raw: 64 << 20, Enriched: 1 << 20, Dead: 1 << 20}},
		Log:  slog.New(slog.NewTextHandler(r.log, nil)), Reg: prometheus.NewRegistry(), Health: r.health,
	}
	if err := cfg.WriteKeys.Set("shop:" + testKey + ",app:k-app"); err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(&cfg)
	}
	r.shards = cfg.Plan.Shards
	var err error
	if r.in, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	reader := bus.Config{URL: n.url()}
	nc, js, err := reader.Connect("reader", discard())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	r.nc, r.js = nc, js

	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.in.Run(ctx) }()
	r.health.Started()
	r.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("run: %v", err)
		}
		if t.Failed() {
			t.Logf("log of the ingester:\n%s", r.log)
		}
	})
	return r
}

// opened waits until events are taken.
func (r *rig) opened() *rig {
	r.t.Helper()
	select {
	case <-r.in.opened:
	case <-time.After(30 * time.Second):
		r.t.Fatal("the door did not open")
	}
	return r
}

type answer struct {
	Status   int `json:"-"` // of HTTP; PostHog's answers have a field of this name
	Header   http.Header
	Body     []byte
	Accepted int
	Rejected []struct {
		Index  int
		Reason string
	}
	Receipt string
	Problem problem
}

// post sends a body with the test's key; header is pairs of names and values.
func (r *rig) post(body string, header ...string) answer {
	r.t.Helper()
	a, err := r.try(body, header...)
	if err != nil {
		r.t.Fatal(err)
	}
	return a
}

func (r *rig) try(body string, header ...string) (a answer, err error) {
	req, err := http.NewRequest(http.MethodPost, "http://"+r.in.Addr()+pathEvents, strings.NewReader(body))
	if err != nil {
		return a, err
	}
	req.Header.Set("X-Write-Key", testKey)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
	}
	return do(req)
}

func do(req *http.Request) (a answer, err error) {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	if a.Body, err = io.ReadAll(resp.Body); err != nil {
		return a, err
	}
	a.Status, a.Header = resp.StatusCode, resp.Header
	if a.Status == http.StatusOK {
		err = json.Unmarshal(a.Body, &a)
	} else {
		err = json.Unmarshal(a.Body, &a.Problem)
	}
	return a, err
}

// want ends the test unless the answer has the status.
func (a answer) want(t *testing.T, status int) answer {
	t.Helper()
	if a.Status != status {
		t.Fatalf("status %d, want %d: %.300s", a.Status, status, a.Body)
	}
	return a
}

// rawRow is one row of RAW, with its place.
type rawRow struct {
	Shard                          int
	Seq                            uint64
	Idx                            int
	Source, Door, IP, UserAgent    string
	InSeq                          uint64
	SentAt                         int64
	ID, Reason, Detail, Body       string
	FrameID, MsgID, Codec, EventsN string
}

// raw reads all that is in RAW.
func (r *rig) raw() (rows []rawRow) {
	r.t.Helper()
	view := frame.NewView(frame.RawSchema)
	for shard := range r.shards {
		s, err := r.js.Stream(r.t.Context(), r.names.StreamRaw(shard))
		if err != nil {
			r.t.Fatal(err)
		}
		state := s.CachedInfo().State
		for seq := max(state.FirstSeq, 1); seq <= state.LastSeq; seq++ {
			msg, err := s.GetMsg(r.t.Context(), seq)
			if err != nil {
				r.t.Fatal(err)
			}
			native, err := frame.Unpack(nil, msg.Data)
			if err != nil {
				r.t.Fatal(err)
			}
			if err := view.Parse(native); err != nil {
				r.t.Fatal(err)
			}
			for i := range view.Rows() {
				text := func(c int) string { return string(view.Str(c, i)) }
				rows = append(rows, rawRow{
					Shard: shard, Seq: seq, Idx: i, Source: text(frame.RawSource), Door: text(frame.RawDoor),
					IP: text(frame.RawIP), UserAgent: text(frame.RawUserAgent), InSeq: view.U64(frame.RawInSeq, i),
					SentAt: view.Millis(frame.RawSentAt, i),
					ID:     text(frame.RawEventID), Reason: text(frame.RawReason), Detail: text(frame.RawDetail), Body: text(frame.RawBody),
					FrameID: msg.Header.Get(bus.HeaderFrame), MsgID: msg.Header.Get("Nats-Msg-Id"),
					Codec: msg.Header.Get(bus.HeaderCodec), EventsN: msg.Header.Get(bus.HeaderEvents),
				})
			}
		}
	}
	return rows
}

// fresh reads what is in RAW and was not there at the last call.
func (r *rig) fresh() (rows []rawRow) {
	r.t.Helper()
	for _, row := range r.raw() {
		if row.Seq > r.read[row.Shard] {
			rows = append(rows, row)
		}
	}
	for _, row := range rows {
		r.read[row.Shard] = max(r.read[row.Shard], row.Seq)
	}
	return rows
}

// bodies are the original bytes of rows, sorted.
func bodies(rows []rawRow) (texts []string) {
	for _, row := range rows {
		texts = append(texts, row.Body)
	}
	slices.Sort(texts)
	return texts
}

// receiptOf names the last place of every shard in rows.
func receiptOf(rows []rawRow) string {
	var receipt bus.Receipt
	for _, row := range rows {
		receipt.Add(bus.Place{Shard: row.Shard, Seq: row.Seq})
	}
	return receipt.String()
}

// eventually waits longer than AckWait, after which a message comes again that a
// pull on a loaded machine gave up too early.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// good is an accepted event of a user.
func good(user string, n int) string {
	return fmt.Sprintf(`{"type":"track","event":"e%d","userId":%q}`, n, user)
}

// logBuffer is a writer that may be read meanwhile.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// counterValue reads a counter.
func counterValue(c prometheus.Counter) float64 {
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		return -1
	}
	return m.GetCounter().GetValue()
}

// gaugeValue reads a gauge.
func gaugeValue(g prometheus.Gauge) float64 {
	var m dto.Metric
	if err := g.Write(&m); err != nil {
		return -1
	}
	return m.GetGauge().GetValue()
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// containsLevel says whether a text log has a line of the level.
func containsLevel(log string, level slog.Level) bool {
	return strings.Contains(log, "level="+level.String())
}
