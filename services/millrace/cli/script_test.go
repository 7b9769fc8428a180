package cli

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/millrace/millrace/libs/localdb"
	"github.com/millrace/millrace/services/millrace/up"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"millrace": func() { os.Exit(Main()) }})
}

// TestScripts types commands as a user does, against a real `millrace up` with
// a real NATS and a real ClickHouse. The scripts are in testdata/script.
func TestScripts(t *testing.T) {
	engine, err := localdb.FindEngine(t.Context(), "")
	if err != nil {
		t.Fatal(err) // it says what to do
	}
	log, err := filepath.Abs(filepath.Join("..", "importer", "testdata", "access.log"))
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(env *testscript.Env) error {
			env.Setenv(localdb.EnvEngine, engine.Path)
			env.Setenv("ACCESS_LOG", log)
			// Every port is a free one, every file is in the script's directory.
			env.Setenv("UP", "--dir=data --ready-file=ready.json --ingest-addr=127.0.0.1:0 --query-addr=127.0.0.1:0 --admin-addr=127.0.0.1:0 --nats-port=0 --clickhouse-http-port=0 --clickhouse-native-port=0")
			env.Setenv("MILLRACE_DIR", "data")
			env.Setenv("MILLRACE_MAX_DISK", "2GiB")
			env.Setenv("GOMEMLIMIT", "1GiB")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ready": ready, "taken": taken, "letters": letters,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

const patience = 2 * time.Minute

func within(ts *testscript.TestScript, what string, ok func() bool) {
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			ts.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// letters waits until the table of dead letters has so many: they come a moment
// after the rows of their request, and no receipt waits for them.
func letters(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: letters number")
	}
	within(ts, args[0]+" dead letters in the table", func() bool {
		ts.Check(ts.Exec("millrace", "query", "SELECT count() FROM dead_letters"))
		return strings.TrimSpace(ts.ReadFile("stdout")) == args[0]
	})
}

// ready waits for a ready file and makes its fields variables: $INGEST, $QUERY
// and $KEY.
func ready(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: ready file")
	}
	path := ts.MkAbs(args[0])
	var text []byte
	within(ts, args[0], func() bool {
		var err error
		text, err = os.ReadFile(path)
		return err == nil
	})
	// The file is the contract: exactly these fields, all of them filled.
	var fields map[string]string
	ts.Check(json.Unmarshal(text, &fields))
	for _, name := range []string{"ingest", "query", "nats", "clickhouse_http", "clickhouse_native", "admin", "source", "write_key"} {
		if fields[name] == "" {
			ts.Fatalf("%s lacks %s: %s", args[0], name, text)
		}
	}
	if len(fields) != 8 {
		ts.Fatalf("%s has %d fields: %s", args[0], len(fields), text)
	}
	var r up.Ready
	ts.Check(json.Unmarshal(text, &r))
	ts.Setenv("INGEST", r.Ingest)
	ts.Setenv("QUERY", r.Query)
	ts.Setenv("KEY", r.WriteKey)
}

// taken listens on a port until the script ends and puts it into a variable.
func taken(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: taken variable")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	_, port, err := net.SplitHostPort(l.Addr().String())
	ts.Check(err)
	ts.Setenv(args[0], port)
}
