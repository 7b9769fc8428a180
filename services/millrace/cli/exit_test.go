package cli

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/services/query/access"
	"github.com/millrace/millrace/services/query/reports"
)

// typed runs a command line in an empty directory and returns how it ended.
func typed(t *testing.T, env map[string]string, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	t.Chdir(t.TempDir())
	var out, errs bytes.Buffer
	a := &app{host: host{
		stdin: strings.NewReader(stdin), stdout: &out, stderr: &errs,
		env: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
	}}
	for name, value := range env {
		a.environ = append(a.environ, name+"="+value)
	}
	code = a.run(t.Context(), args)
	return code, out.String(), errs.String()
}

func TestExitCodes(t *testing.T) {
	answer := func(status int, body string) string {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}))
		t.Cleanup(srv.Close)
		return srv.URL
	}
	// A query service that has reports, of none of which the name is.
	withReports := func(body string) string {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == reports.Root {
				_, _ = io.WriteString(w, `{"reports":[]}`)
				return
			}
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, body)
		}))
		t.Cleanup(srv.Close)
		return srv.URL
	}
	is := func(want int, says string, args ...string) {
		t.Helper()
		code, _, stderr := typed(t, nil, "", args...)
		if code != want || !strings.Contains(stderr, says) {
			t.Errorf("%q ends with %d, want %d: %s", args, code, want, stderr)
		}
	}
	const nobody = "http://127.0.0.1:1"
	is(exitOK, "", "version")
	is(exitUsage, "unknown flag", "version", "--nothing")
	is(exitUsage, "table or json", "version", "--output", "xml")
	is(exitUsage, "no arguments", "status", "please")
	is(exitUsage, "there is no command `millrace bogus`. `millrace --help`", "bogus")
	is(exitUsage, "Is it status?", "statsu")
	is(exitUsage, "there is no command `millrace completion bogus`", "completion", "bogus")
	is(exitUsage, "no arguments", "completion", "bash", "zsh")
	if code, stdout, _ := typed(t, nil, "", "completion", "bash"); code != exitOK || !strings.Contains(stdout, "__start_millrace") {
		t.Errorf("completion bash ends with %d: %.100s", code, stdout)
	}
	is(exitOK, "", "completion")
	is(exitUsage, "no installation of `millrace up`", "query", "SELECT 1", "--dir", "nowhere")
	is(exitUsage, "no installation of `millrace up`", "user", "ada", "--dir", "nowhere")
	is(exitUsage, "no installation of `millrace up`", "mcp", "--dir", "nowhere")
	is(exitUsage, "no installation of `millrace up`", "send", "x", "--user", "u", "--dir", "nowhere", "--write-key", "k")
	is(exitUnreachable, "nothing answers", "query", "SELECT 1", "--dir", "nowhere", "--query-url", nobody)
	is(exitUsage, "the SQL as one argument", "query", "SELECT", "1")
	is(exitUsage, "name=value", "query", "SELECT 1", "--param", "x")
	is(exitUsage, "--query-url", "query", "SELECT 1", "--query-url", "localhost:8090")
	is(exitUsage, "combined or ndjson", "import", "--format", "csv", "file", "--write-key", "k")
	is(exitUsage, "no write key", "send", "x", "--user", "u")
	is(exitUsage, "--demo-rate -1", "up", "--demo-rate", "-1")
	is(exitUsage, "--demo-rate 0: want 0.01 to 20000", "up", "--demo", "--demo-rate", "0")
	is(exitUsage, "process or power", "up", "--durability", "wishful")
	is(exitUsage, "--max-disk", "up", "--max-disk", "much")
	is(exitUsage, "is not a letter", "up", "--source", "a b")
	is(exitUnreachable, "nothing answers", "query", "SELECT 1", "--query-url", nobody)
	is(exitUnreachable, "nothing answers", "send", "x", "--user", "u", "--url", nobody, "--write-key", "k", "--patience", "0s")
	is(exitFailed, "no such table", "query", "SELECT 1", "--query-url", answer(http.StatusBadRequest, `{"detail":"no such table"}`))
	is(exitUsage, "want a number", "trend", "--limit", "x", "--query-url", answer(http.StatusBadRequest, `{"code":"bad_request","detail":"want a number"}`))
	is(exitUsage, "is unknown", "report", "top", "x=1", "--query-url", answer(http.StatusBadRequest, `{"code":"bad_request","detail":"parameter x is unknown"}`))
	is(exitUsage, "no report weather\n", "report", "weather", "--query-url", withReports(`{"code":"not_found","detail":"there is no report weather"}`))
	is(exitFailed, "right address", "report", "top", "--query-url", answer(http.StatusNotFound, `{"code":"not_found","detail":"events are taken elsewhere"}`))
	wrong := answer(http.StatusBadRequest, `{"code":"bad_request","detail":"this is wrong"}`)
	is(exitUsage, "this is wrong", "tail", "--where", "foo ==", "--query-url", wrong)
	is(exitUsage, "this is wrong", "user", "ada", "--recent", "99", "--query-url", wrong)
	is(exitUsage, "this is wrong", "ask", "help", "--user", "ada", "--query-url", wrong)
	is(exitUsage, "this is wrong", "query", "SELECT 1", "--after", "2:17", "--query-url", wrong)
	unnamed := answer(http.StatusBadRequest, `{"code":"bad_request","detail":"`+access.WhichSource+`"}`)
	is(exitUsage, "give --source, or --dir of your `millrace up`", "user", "ada", "--query-url", unnamed)
	is(exitUsage, "give --source, or --dir of your `millrace up`", "ask", "help", "--user", "ada", "--query-url", unnamed)
	stranger := answer(http.StatusUnauthorized, `{"detail":"unknown key"}`)
	const apiKey, writeKey = "--api-key or MILLRACE_API_KEY", "--write-key or MILLRACE_WRITE_KEY"
	is(exitFailed, apiKey+" (HTTP 401)", "query", "SELECT 1", "--query-url", stranger)
	is(exitFailed, apiKey+" (HTTP 401)", "tail", "--query-url", stranger)
	is(exitFailed, apiKey+" (HTTP 401)", "user", "ada", "--query-url", stranger)
	is(exitFailed, apiKey+", or the source's key with "+writeKey, "ask", "help", "--user", "ada", "--query-url", stranger)
	is(exitFailed, writeKey+" (HTTP 401)", "send", "x", "--user", "u", "--write-key", "k", "--url", stranger)
	is(exitNotYet, "took too long", "query", "SELECT 1", "--query-url", answer(http.StatusGatewayTimeout, `{"detail":"it took too long"}`))
	is(exitUnreachable, "too much", "query", "SELECT 1", "--query-url", answer(http.StatusServiceUnavailable, `{"detail":"too much"}`))
	is(exitFailed, "", "verify", "--query-url", answer(http.StatusOK, `{"report":{"ok":false,"findings":[{"shard":1,"kind":"missing","first":3,"last":4,"expected":2,"found":0,"detail":"x"}]}}`))
	is(exitNotYet, "7 events", "verify", "--query-url", answer(http.StatusOK, `{"report":{"ok":true,"pending":7}}`))
	is(exitFailed, "broke off", "verify", "--query-url", answer(http.StatusOK, `{"progress":{"shard":0}}`))
	is(exitFailed, "shard 0 is shut: it went back", "status", "--query-url", answer(http.StatusOK, `{"shards":[{"shard":0,"open":false,"note":"it went back"}]}`))
}

func TestSettingsComeFromFlagsThenEnvironment(t *testing.T) {
	var got []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, r.Header.Get("X-Write-Key")+" "+string(body))
		_, _ = io.WriteString(w, `{"accepted":1,"rejected":[],"receipt":"0:1"}`)
	}))
	t.Cleanup(srv.Close)
	env := map[string]string{"MILLRACE_URL": srv.URL, "MILLRACE_WRITE_KEY": "from-env", "MILLRACE_CONFIG": "/not/for/this/command"}
	secret := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(secret, []byte("from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		env  map[string]string
		args []string
		want string
	}{
		{env, []string{"send", "x", "--user", "u"}, "from-env"},
		{env, []string{"send", "x", "--user", "u", "--write-key", "from-flag"}, "from-flag"},
		{map[string]string{"MILLRACE_URL": srv.URL, "MILLRACE_WRITE_KEY_FILE": secret}, []string{"send", "x", "--user", "u"}, "from-file"},
		{map[string]string{"MILLRACE_URL": srv.URL, "MILLRACE_WRITE_KEYS": "a:key-a,b:key-b"}, []string{"send", "x", "--user", "u", "--source", "b"}, "key-b"},
	} {
		got = nil
		if code, _, stderr := typed(t, c.env, "", c.args...); code != exitOK {
			t.Fatalf("%v: %d %s", c.args, code, stderr)
		}
		if want := c.want + ` {"event":"x","type":"track","userId":"u"}`; len(got) != 1 || got[0] != want {
			t.Errorf("sent %q, want %q", got, want)
		}
	}
	// `up` knows the variables of the other commands and no others.
	code, _, stderr := typed(t, map[string]string{"MILLRACE_QUERY_URL": "x", "MILLRACE_MAXDISK": "1GiB"}, "", "up")
	if code != exitUsage || !strings.Contains(stderr, "MILLRACE_MAXDISK") || !strings.Contains(stderr, "MILLRACE_MAX_DISK") {
		t.Errorf("a misspelt variable: %d %s", code, stderr)
	}
	code, stdout, _ := typed(t, map[string]string{"MILLRACE_MAX_DISK": "1GiB", "MILLRACE_QUERY_URL": "x"}, "", "up", "--print-config", "--write-keys", "a:secret", "--write-key", "secret")
	if code != exitOK || !strings.Contains(stdout, "max-disk: 1GiB") || strings.Contains(stdout, "secret") {
		t.Errorf("--print-config: %d\n%s", code, stdout)
	}
}

func TestSendMakesTheEventOfItsFlags(t *testing.T) {
	e := oneEvent{
		kind: "track", name: "Order", user: "u", id: "m", timestamp: "2026-01-02T03:04:05Z",
		properties: []string{"n=1.50", "s=text", "b=true", `o={"a":[1]}`, "e=", "eq=a=b", "quoted=\"7\""},
		traits:     []string{"plan=x"},
	}
	got, err := e.encode()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"event":"Order","messageId":"m","properties":{"b":true,"e":"","eq":"a=b","n":1.50,"o":{"a":[1]},"quoted":"7","s":"text"},"timestamp":"2026-01-02T03:04:05Z","traits":{"plan":"x"},"type":"track","userId":"u"}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	page := oneEvent{kind: "page", name: "Home", anonymous: "a"}
	if got, err := page.encode(); err != nil || string(got) != `{"anonymousId":"a","name":"Home","type":"page"}` {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := count(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
	if got := fmt.Sprint(count(uint64(1) << 63)); got != "9,223,372,036,854,775,808" {
		t.Errorf("2^63 is %s", got)
	}
}

// Without history the numbers are those of a moment: it is said first, and no first time is made up.
func TestAUserWithoutHistory(t *testing.T) {
	history := `"lacks":[{"what":"history","why":"ClickHouse is away"}]`
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		lacks := `"lacks":[]`
		if r.URL.Path == "/v1/users/ada" {
			lacks = history
		}
		_, _ = io.WriteString(w, `{"user":"u","profile":{"events":1,"first_seen":"2026-01-01T00:00:00Z","last_seen":"2026-01-02T00:00:00Z"},`+lacks+`}`)
	}))
	t.Cleanup(srv.Close)
	_, stdout, stderr := typed(t, nil, "", "user", "ada", "--query-url", srv.URL)
	if !strings.Contains(stdout, "1, without history") || strings.Contains(stdout, "first seen") || !strings.Contains(stdout, "last seen") || !strings.HasPrefix(stderr, "lacking: history: ClickHouse is away") {
		t.Errorf("%s%s", stderr, stdout)
	}
	_, stdout, stderr = typed(t, nil, "", "user", "bob", "--query-url", srv.URL)
	if strings.Contains(stdout, "without") || !strings.Contains(stdout, "first seen") || stderr != "" {
		t.Errorf("%s%s", stderr, stdout)
	}
}

// An answer that ClickHouse could not finish: the rows are printed, what it said is an error.
func TestACutAnswer(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-ClickHouse-Exception-Tag", "abcdefghijklmnop")
		_, _ = io.WriteString(w, "1\n2\n\r\n__exception__\r\nabcdefghijklmnop\r\nCode: 159. Timeout exceeded\n28 abcdefghijklmnop\r\n__exception__\r\n")
	}))
	t.Cleanup(srv.Close)
	code, stdout, stderr := typed(t, nil, "", "query", "SELECT 1", "--query-url", srv.URL)
	if code != exitFailed || stdout != "1\n2\n" || stderr != "millrace: the answer is not whole: ClickHouse failed after its first rows: Code: 159. Timeout exceeded\n" {
		t.Errorf("%d %q %q", code, stdout, stderr)
	}
}
