package check

import (
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/libs/localdb"
)

var clickhouseUsers = map[string]string{
	localdb.WriterUser: "WRITER", localdb.ReaderUser: "READER", localdb.ScopedUser: "READER", localdb.MigratorUser: "MIGRATOR",
}

func clickhousePassword(user string) string {
	return words()["MILLRACE_CLICKHOUSE_"+clickhouseUsers[user]+"_PASSWORD"]
}

// startClickHouse runs a ClickHouse. With the deployed files, they lie beside its own configuration, as in
// /etc/clickhouse-server, and replace the users that it has of itself.
func startClickHouse(t *testing.T, deployedFiles bool) *localdb.Server {
	t.Helper()
	dir := t.TempDir()
	if deployedFiles {
		for from, to := range map[string]string{"config.xml": "config.d", "users.xml": "users.d"} {
			if err := os.MkdirAll(filepath.Join(dir, to), 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, to, "millrace.xml"), filled(text(t, deployed("clickhouse", from))))
		}
	}
	s, err := localdb.Start(t.Context(), localdb.Config{
		Dir: dir, MemoryLimit: 4 << 30, Log: slog.New(slog.DiscardHandler),
		Passwords: localdb.Passwords{
			Writer:   clickhousePassword(localdb.WriterUser),
			Reader:   clickhousePassword(localdb.ReaderUser),
			Migrator: clickhousePassword(localdb.MigratorUser),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Kill() }) // its files go with the test
	return s
}

var fromEnvironment = regexp.MustCompile(`<(\w+) from_env="(\w+)"\s*/>`)

// filled puts the words into a file where ClickHouse would take them from its environment, which the local engine does
// not hand on.
func filled(xml string) string {
	return fromEnvironment.ReplaceAllStringFunc(xml, func(element string) string {
		m := fromEnvironment.FindStringSubmatch(element)
		return "<" + m[1] + ">" + words()[m[2]] + "</" + m[1] + ">"
	})
}

// ask runs one statement and returns the answer, or ClickHouse's exception with ok false.
func ask(t *testing.T, s *localdb.Server, user, password, sql string) (answer string, ok bool) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.Addrs().HTTP+"/", strings.NewReader(sql))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(user, password)
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body), res.StatusCode == http.StatusOK
}

// TestClickHouseUsers compares what ClickHouse itself says of each user: with the users that `millrace up` gives it, and
// with the files for a server. Only then are rights that one lacks found in the other's tests.
func TestClickHouseUsers(t *testing.T) {
	local, server := startClickHouse(t, false), startClickHouse(t, true)
	for user := range clickhouseUsers {
		for what, sql := range map[string]string{
			"grants": "SHOW GRANTS",
			"settings and bounds": "SELECT name, value, min, max, readonly FROM system.settings" +
				" WHERE changed OR min IS NOT NULL OR max IS NOT NULL OR NOT readonly ORDER BY name FORMAT TSV",
			"session": "SELECT currentUser(), currentDatabase(), timezone()",
		} {
			want, ok := ask(t, local, user, clickhousePassword(user), sql)
			if !ok || want == "" {
				t.Fatalf("%s of %s in the local ClickHouse: %q", what, user, want)
			}
			got, _ := ask(t, server, user, clickhousePassword(user), sql)
			if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); diff != "" {
				t.Errorf("%s of %s (-local +deployed):\n%s", what, user, diff)
			}
		}
		if answer, ok := ask(t, server, user, "wrong", "SELECT 1"); ok || !strings.Contains(answer, "Code: 516") {
			t.Errorf("%s with a wrong password: %q", user, answer)
		}
	}
	// Nobody may read policies, so their text is compared; that it hides rows is shown in the query service's tests.
	if n := strings.Count(text(t, deployed("clickhouse", "users.xml")), "<filter>"+localdb.SourcesPolicy+"</filter>"); n != 2 {
		t.Errorf("%d tables of users.xml have the policy of localdb.SourcesPolicy, want 2", n)
	}
	// The bounds hold, not only their description.
	for sql, code := range map[string]string{
		"SELECT 1 SETTINGS max_execution_time = 5000":                          "452",
		"SELECT 1 SETTINGS readonly = 0":                                       "164",
		"SELECT number FROM numbers(100) SETTINGS max_result_rows = 10":        "396",
		"SELECT * FROM system.processes":                                       "497",
		"SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString', 'l String')": "497",
	} {
		if answer, ok := ask(t, server, localdb.ReaderUser, clickhousePassword(localdb.ReaderUser), sql); ok || !strings.Contains(answer, "Code: "+code) {
			t.Errorf("the reader asks %s: %q, want code %s", sql, answer, code)
		}
	}
}
