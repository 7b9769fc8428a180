package cli

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/millrace/millrace/libs/testkit"
	"github.com/millrace/millrace/services/millrace/client"
	"github.com/millrace/millrace/services/millrace/up"
	"github.com/millrace/millrace/services/query/mcp"
)

const toolsKey = "the-key-of-the-desktop"

// installed is an installation that a test starts and stops.
type installed struct {
	cfg  up.Config
	stop func()
}

func (in *installed) start(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- up.Run(ctx, in.cfg) }()
	stopped := false
	in.stop = func() {
		if cancel(); !stopped {
			stopped = true
			if err := <-ended; err != nil {
				t.Errorf("stop: %v", err)
			}
		}
	}
	t.Cleanup(in.stop)
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if _, err := up.ReadReady(in.cfg.Dir); err == nil {
			return
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("it ended: %v", err)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("not ready within %s", patience)
		}
	}
}

// spoken is `millrace mcp` as a client starts it, in a version of the protocol ("" is the newest).
func spoken(t *testing.T, version, key string, args ...string) *sdk.ClientSession {
	t.Helper()
	cmd := exec.Command("millrace", append([]string{"mcp"}, args...)...) //nolint:gosec // it is this test, under the name of the command
	cmd.Env = append(os.Environ(), "MILLRACE_API_KEY="+key)
	cmd.Dir, cmd.Stderr = t.TempDir(), t.Output()
	c := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, nil)
	s, err := c.Connect(t.Context(), &sdk.CommandTransport{Command: cmd}, &sdk.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("the command ends with %v", err)
		}
	})
	return s
}

// says calls a tool and returns the text of its answer.
func says(t *testing.T, s *sdk.ClientSession, tool string, args map[string]any) (text string, wrong bool) {
	t.Helper()
	res, err := s.CallTool(t.Context(), &sdk.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		t.Fatalf("%s: %v", tool, err)
	}
	return res.Content[0].(*sdk.TextContent).Text, res.IsError
}

// One client of the tools lives through a service that is not there yet, is there, goes, and comes back.
func TestTools(t *testing.T) {
	addr := testkit.FreeAddr(t)
	queries := t.TempDir()
	if err := os.WriteFile(filepath.Join(queries, "of-user.sql"), []byte("-- Events of a user.\nSELECT count() AS n FROM events WHERE user_id = {user:String}"), 0o600); err != nil {
		t.Fatal(err)
	}
	in := &installed{cfg: up.Config{
		Dir: t.TempDir(), MaxDisk: 2 << 30, IngestAddr: "127.0.0.1:0", QueryAddr: addr, AdminAddr: "127.0.0.1:0",
		Source: "demo", Durability: "process", DedupWindow: time.Hour, DrainTimeout: time.Minute,
		APIKeys: []string{toolsKey}, Queries: queries, Out: t.Output(), Log: slog.New(slog.DiscardHandler),
	}}
	where := "--query-url=http://" + addr

	s := spoken(t, "", toolsKey, where)
	old := spoken(t, "2025-06-18", toolsKey, where)
	if got := old.InitializeResult(); got.ProtocolVersion != "2025-06-18" || got.Instructions != mcp.Instructions || got.Capabilities.Tools == nil {
		t.Errorf("%+v", got)
	}
	away := "nothing answers at http://" + addr
	if _, err := s.ListTools(t.Context(), nil); err == nil || !strings.Contains(err.Error(), away) || !strings.Contains(err.Error(), "`millrace up` starts it") {
		t.Errorf("tools of nobody: %v", err)
	}
	if text, wrong := says(t, s, "top", nil); !wrong || !strings.Contains(text, away) {
		t.Errorf("an answer of nobody: %t %s", wrong, text)
	}

	in.start(t)
	ready, err := up.ReadReady(in.cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	door, err := client.New(client.Config{URL: ready.Ingest, Key: ready.WriteKey, Flag: "url", Patience: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(door.Close)
	sent, err := door.Post(t.Context(), client.Body{Data: []byte(`{"userId":"ada","event":"Order Completed","properties":{"revenue":12.5}}`)})
	if err != nil {
		t.Fatal(err)
	}
	// The users first: they do not wait for ClickHouse.
	for _, tc := range []struct {
		tool string
		args map[string]any
		want string
	}{
		{"user", map[string]any{"id": "ada", "source": "demo", "after": sent.Receipt}, `"event":"Order Completed"`},
		{"revenue", map[string]any{"after": sent.Receipt, "timeout": "30s"}, `"revenue":12.5`},
		{"sql", map[string]any{"sql": "SELECT count() AS n FROM events WHERE user_id = {user:String}", "parameters": map[string]any{"user": "ada"}}, `"rows":[[1]]`},
		{"query_of-user", map[string]any{"user": "ada"}, `"rows":[[1]]`},
		{"status", nil, `"shards":[{`},
	} {
		for name, session := range map[string]*sdk.ClientSession{"newest": s, "old": old} {
			if text, wrong := says(t, session, tc.tool, tc.args); wrong || !strings.Contains(text, tc.want) {
				t.Errorf("%s, %s: %t %s, want %s", name, tc.tool, wrong, text, tc.want)
			}
		}
	}
	if text, wrong := says(t, s, "sql", map[string]any{"sql": "DROP TABLE events"}); !wrong || !strings.Contains(text, "Not enough privileges") {
		t.Errorf("%t %s", wrong, text)
	}
	if _, err := s.CallTool(t.Context(), &sdk.CallToolParams{Name: "weather"}); err == nil || !strings.Contains(err.Error(), `unknown tool "weather"`) {
		t.Errorf("a tool that is not there: %v", err)
	}
	var names []string
	for tool, err := range s.Tools(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, tool.Name)
	}
	for _, name := range []string{"trend", "top", "funnel", "user", "sql", "columns", "status", "query_of-user"} {
		if !slices.Contains(names, name) {
			t.Errorf("no tool %s among %v", name, names)
		}
	}
	stranger := spoken(t, "", "not-a-key-of-anybody", where)
	if text, wrong := says(t, stranger, "top", nil); !wrong || !strings.Contains(text, "--api-key or MILLRACE_API_KEY") {
		t.Errorf("a wrong key: %t %s", wrong, text)
	}

	in.stop()
	if text, wrong := says(t, s, "top", nil); !wrong || !strings.Contains(text, away) {
		t.Errorf("an answer of nobody: %t %s", wrong, text)
	}
	in.start(t)
	for name, session := range map[string]*sdk.ClientSession{"newest": s, "old": old} { // old has not noticed
		if text, wrong := says(t, session, "query_of-user", map[string]any{"user": "ada"}); wrong || !strings.Contains(text, `"rows":[[1]]`) {
			t.Errorf("%s, after its return: %t %s", name, wrong, text)
		}
	}
}
