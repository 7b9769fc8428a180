package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const hello = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"pipe","version":"1"}}}` + "\n"

// ending is standard input that tells when its end was read.
type ending struct {
	io.Reader
	once  sync.Once
	ended chan struct{}
}

func (e *ending) Read(p []byte) (int, error) {
	n, err := e.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		e.once.Do(func() { close(e.ended) })
	}
	return n, err
}

// piped types `millrace mcp` behind a pipe and returns the ids that were answered.
func piped(t *testing.T, stdin *ending, args ...string) (ids []int, said string) {
	t.Helper()
	var out, errs bytes.Buffer
	a := &app{host: host{stdin: stdin, stdout: &out, stderr: &errs, env: func(string) (string, bool) { return "", false }}}
	if code := a.run(t.Context(), append([]string{"mcp"}, args...)); code != exitOK {
		t.Fatalf("it ends with %d: %s", code, errs.String())
	}
	for line := range strings.Lines(out.String()) {
		var answer struct{ ID int }
		if err := json.Unmarshal([]byte(line), &answer); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		ids = append(ids, answer.ID)
	}
	return ids, out.String()
}

// What was asked before the end of a pipe is answered, also when the answer comes after it.
func TestToolsOfAPipeAnswerBeforeTheyEnd(t *testing.T) {
	t.Chdir(t.TempDir())
	for range 50 {
		in := &ending{Reader: strings.NewReader(hello), ended: make(chan struct{})}
		if ids, said := piped(t, in); len(ids) != 1 || ids[0] != 1 {
			t.Fatalf("answers to %v: %s", ids, said)
		}
	}
	in := &ending{ended: make(chan struct{})}
	in.Reader = strings.NewReader(hello + `{"jsonrpc":"2.0","method":"notifications/initialized"}` + "\n" +
		`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"top","arguments":{}}}` + "\n")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		<-in.ended
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, `{"detail":"not a moment ago"}`)
	}))
	defer srv.Close()
	if ids, said := piped(t, in, "--query-url", srv.URL); len(ids) != 2 || !strings.Contains(said, "not a moment ago") {
		t.Errorf("answers to %v: %s", ids, said)
	}
}

// A user is looked for in the source of the installation, as `millrace user` does, unless the call names another.
func TestToolsFillInTheSource(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ready.json"), []byte(`{"source":"shop","query":"http://here"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ query, tool, args, want string }{
		{"", "user", `{"id":"ada"}`, `{"id":"ada","source":"shop"}`},
		{"http://here", "user", `{"id":"ada"}`, `{"id":"ada","source":"shop"}`},
		{"http://elsewhere", "user", `{"id":"ada"}`, `{"id":"ada"}`},
		{"", "user", `{"id":"ada","source":"app"}`, `{"id":"ada","source":"app"}`},
		{"", "top", `{"by":"path"}`, `{"by":"path"}`},
		{"", "user", `[1]`, `[1]`},
		{"", "user", ``, ``},
	} {
		where := &target{dir: dir, query: tc.query}
		if got := string(where.ofSource(tc.tool, json.RawMessage(tc.args))); got != tc.want {
			t.Errorf("%s %s: %s, want %s", tc.tool, tc.args, got, tc.want)
		}
	}
}
