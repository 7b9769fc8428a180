package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// visibleWithin is the product's promise: so long after a shard stands still it
// shows in /v1/status, in /readyz and in the metrics, and so long after it is
// mended it shows no more.
const visibleWithin = 10 * time.Second

// fetch is the body of an answer, "" and status 0 when there is none in time.
func fetch(ctx context.Context, url string) (int, string) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, ""
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, ""
	}
	defer func() { _ = res.Body.Close() }() // it was only read
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, ""
	}
	return res.StatusCode, string(text)
}

var adminLine = regexp.MustCompile(`admin port is open.*?"?addr"?[=:]"?(127\.0\.0\.1:\d+)`)

// admin is the address of a process's admin port, which its log says.
func admin(p *process) string {
	all := adminLine.FindAllStringSubmatch(p.tail(1<<20), -1)
	if len(all) == 0 {
		return ""
	}
	return "http://" + all[len(all)-1][1]
}

// shardLine is what this test reads of a shard's status, or of the door's.
type shardLine struct {
	Shard              int
	State, Reason, Why string
	Since              time.Time
}

func status(ctx context.Context, m *mill) (shards []shardLine, door shardLine, ok bool) {
	code, text := fetch(ctx, "http://"+m.queries[0]+"/v1/status")
	var st struct {
		Door   shardLine
		Shards []shardLine
	}
	if code != http.StatusOK || json.Unmarshal([]byte(text), &st) != nil {
		return nil, door, false
	}
	return st.Shards, st.Door, len(st.Shards) > 0
}

// stall is a fault and where it must show.
type stall struct {
	name    string
	reasons []string // in status and metrics, any of them
	service string   // whose /readyz and metrics show it
	frozen  bool     // it has no admin port meanwhile that could show anything: query does it alone
	door    bool     // it shows at the door, not at a shard
	begin   func(ctx context.Context, m *mill) error
	end     func(ctx context.Context, m *mill) error
}

func signalled(service string, sig syscall.Signal) func(context.Context, *mill) error {
	return func(_ context.Context, m *mill) error {
		for _, p := range m.services[service] {
			p.signal(sig)
		}
		return nil
	}
}

func altered(sql string) func(context.Context, *mill) error {
	return func(ctx context.Context, m *mill) error { return m.db.exec(ctx, "ALTER TABLE events "+sql) }
}

var stalls = []stall{
	{
		name: "ClickHouse is away", reasons: []string{"clickhouse_away"}, service: "indexer",
		begin: func(_ context.Context, m *mill) error { return m.db.kill() },
		end:   func(ctx context.Context, m *mill) error { return m.db.start(ctx) },
	},
	{
		name: "ClickHouse hangs", reasons: []string{"clickhouse_away"}, service: "indexer",
		begin: func(_ context.Context, m *mill) error { return syscall.Kill(m.db.pid(), syscall.SIGSTOP) },
		end:   func(_ context.Context, m *mill) error { return syscall.Kill(m.db.pid(), syscall.SIGCONT) },
	},
	{
		name: "too many parts", reasons: []string{"clickhouse_parts"}, service: "indexer",
		begin: altered("MODIFY SETTING parts_to_delay_insert = 1, parts_to_throw_insert = 1"),
		end:   altered("RESET SETTING parts_to_delay_insert, parts_to_throw_insert"),
	},
	{
		name: "all indexers are killed", reasons: []string{"no_owner", "no_progress"}, service: "indexer", frozen: true,
		begin: func(_ context.Context, m *mill) error {
			for _, p := range m.services["indexer"] {
				p.kill()
			}
			return nil
		},
		end: func(_ context.Context, m *mill) error {
			for _, p := range m.services["indexer"] {
				if err := p.start(); err != nil {
					return err
				}
			}
			return nil
		},
	},
	{
		name: "all indexers are stopped", reasons: []string{"no_owner", "no_progress"}, service: "indexer", frozen: true,
		begin: signalled("indexer", syscall.SIGSTOP), end: signalled("indexer", syscall.SIGCONT),
	},
	{
		name: "all enrichers are stopped", reasons: []string{"no_owner", "no_progress"}, service: "enricher", frozen: true,
		begin: signalled("enricher", syscall.SIGSTOP), end: signalled("enricher", syscall.SIGCONT),
	},
	{
		name: "all ingesters are stopped", service: "ingester", frozen: true, door: true, reasons: []string{"no_owner"},
		begin: signalled("ingester", syscall.SIGSTOP), end: signalled("ingester", syscall.SIGCONT),
	},
	{
		name: "NATS hangs", reasons: []string{"nats"}, service: "enricher",
		begin: func(_ context.Context, m *mill) error { m.nats.signal(syscall.SIGSTOP); return nil },
		end:   func(_ context.Context, m *mill) error { m.nats.signal(syscall.SIGCONT); return nil },
	},
	{
		name: "NATS is away", reasons: []string{"nats"}, service: "ingester",
		begin: func(_ context.Context, m *mill) error { m.nats.kill(); return nil },
		end:   func(_ context.Context, m *mill) error { return m.nats.start() },
	},
}

// inStatus says whether a shard, or the door, is stuck for one of the reasons and says in words
// why and since when.
func (s stall) inStatus(ctx context.Context, m *mill) bool {
	all, door, _ := status(ctx, m)
	if s.door {
		all = []shardLine{door}
	}
	return slices.ContainsFunc(all, func(l shardLine) bool {
		return l.State == "stuck" && slices.Contains(s.reasons, l.Reason) && l.Why != "" && !l.Since.IsZero()
	})
}

// inReadiness says whether a process of the service names what is stuck.
func (s stall) inReadiness(ctx context.Context, m *mill) bool {
	pair := m.services[s.service]
	return slices.ContainsFunc(pair[:], func(p *process) bool {
		code, text := fetch(ctx, admin(p)+"/readyz")
		return code == http.StatusServiceUnavailable &&
			(strings.Contains(text, "NATS") || strings.Contains(text, "not connected") || regexp.MustCompile(`shard \d+ is (stuck|shut): `).MatchString(text))
	})
}

// inMetrics says whether the service, or query where it cannot, counts it.
func (s stall) inMetrics(ctx context.Context, m *mill) bool {
	service := s.service
	if s.frozen {
		service = "query"
	}
	any := strings.Join(s.reasons, "|")
	want := regexp.MustCompile(`(?m)^millrace_query_part_stuck\{part="door"\} 1$`)
	if !s.door {
		want = regexp.MustCompile(`(?m)^millrace_` + service + `_shard_stuck\{reason="(` + any + `)",shard="\d+"\} 1$|^millrace_readiness_failed\{check="` + service + `/[a-z]+"\} 1$`)
	}
	pair := m.services[service]
	return slices.ContainsFunc(pair[:], func(p *process) bool {
		_, text := fetch(ctx, admin(p)+"/metrics")
		return want.MatchString(text)
	})
}

// gone says whether nothing shows anywhere.
func gone(ctx context.Context, m *mill) string {
	all, door, ok := status(ctx, m)
	if !ok {
		return "status gives no answer"
	}
	if door.State == "stuck" || door.State == "shut" {
		return fmt.Sprintf("the door is %s (%s): %s", door.State, door.Reason, door.Why)
	}
	for _, l := range all {
		if l.State == "stuck" || l.State == "shut" {
			return fmt.Sprintf("shard %d is %s (%s): %s", l.Shard, l.State, l.Reason, l.Why)
		}
	}
	bad := regexp.MustCompile(`(?m)^millrace_(?:[a-z]+_shard_stuck|query_part_stuck|readiness_failed)\{.*\} 1$`)
	for _, p := range m.all() {
		if code, text := fetch(ctx, admin(p)+"/readyz"); code != http.StatusOK {
			return p.name + ": " + text
		}
		if _, text := fetch(ctx, admin(p)+"/metrics"); bad.MatchString(text) {
			return p.name + ": " + bad.FindString(text)
		}
	}
	return ""
}

// poll waits for ok at most for the limit and says how long it took.
func poll(ctx context.Context, limit time.Duration, ok func() bool) (time.Duration, bool) {
	for began := time.Now(); ; {
		if ok() {
			return time.Since(began), true
		}
		if time.Since(began) > limit || !pause(ctx, 100*time.Millisecond) {
			return time.Since(began), false
		}
	}
}

// knock sends events of many users to both doors until ctx is done; what becomes
// of them is not what this test is about.
func knock(ctx context.Context, m *mill) {
	client := &http.Client{Timeout: 6 * time.Second}
	for n := 0; ctx.Err() == nil; n++ {
		var body bytes.Buffer
		body.WriteString(`[{"event":"no user"}`)
		for i := range 20 {
			fmt.Fprintf(&body, `,{"event":"Knock","userId":"u%d"}`, 20*n+i)
		}
		body.WriteString("]")
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+m.doors[n%each]+"/v1/events", &body)
		if err != nil {
			return
		}
		req.Header.Set("X-Write-Key", writeKey)
		if res, err := client.Do(req); err == nil {
			_, _ = io.Copy(io.Discard, res.Body) // so that the connection is used again
			_ = res.Body.Close()
		}
		pause(ctx, 50*time.Millisecond)
	}
}

// In /v1/status and the metrics of query, whatever happened, and in /readyz and
// the metrics of a process that lives and is concerned.
func TestWhatIsStuckIsVisible(t *testing.T) {
	m := testMill(t)
	if err := m.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	for range 3 {
		load.Go(func() { knock(ctx, m) })
	}
	t.Cleanup(func() { cancel(); load.Wait() })
	if _, ok := poll(ctx, time.Minute, func() bool { return gone(ctx, m) == "" }); !ok {
		t.Fatalf("it does not get on at all: %s", gone(ctx, m))
	}
	t.Run("metrics are as documented", func(t *testing.T) { documented(t, m) })
	for _, s := range stalls {
		t.Run(s.name, func(t *testing.T) {
			if err := s.begin(ctx, m); err != nil {
				t.Fatal(err)
			}
			var places sync.WaitGroup
			var took [3]time.Duration
			for i, place := range []struct {
				name  string
				shows func(context.Context, *mill) bool
			}{{"/v1/status", s.inStatus}, {"/readyz", s.inReadiness}, {"/metrics", s.inMetrics}} {
				if i == 1 && s.frozen {
					continue
				}
				places.Go(func() {
					var ok bool
					if took[i], ok = poll(ctx, visibleWithin, func() bool { return place.shows(ctx, m) }); !ok {
						t.Errorf("it does not show in %s within %s", place.name, visibleWithin)
					}
				})
			}
			places.Wait()
			if t.Failed() {
				_, text := fetch(ctx, "http://"+m.queries[0]+"/v1/status")
				t.Logf("status: %s", text)
			}
			if err := s.end(ctx, m); err != nil {
				t.Fatal(err)
			}
			mended, ok := poll(ctx, visibleWithin, func() bool { return gone(ctx, m) == "" })
			if !ok {
				t.Errorf("it still shows %s after it was mended: %s", visibleWithin, gone(ctx, m))
				poll(ctx, time.Minute, func() bool { return gone(ctx, m) == "" })
			}
			t.Logf("status %.1fs, readyz %.1fs, metrics %.1fs; gone after %.1fs",
				took[0].Seconds(), took[1].Seconds(), took[2].Seconds(), mended.Seconds())
		})
	}
}
