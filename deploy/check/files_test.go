package check

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// root is the repository as seen from this package.
var root = filepath.Join("..", "..")

func deployed(path ...string) string {
	return filepath.Join(append([]string{root, "deploy"}, path...)...)
}

func text(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// words are the values that secrets.sh would write: what compose.yaml and the configurations ask for.
func words() map[string]string {
	env := map[string]string{"MILLRACE_WRITE_KEYS": "web:kweb", "MILLRACE_API_KEYS": "kapi0123456789abcdef"}
	for _, user := range []string{"ADMIN", "INGESTER", "ENRICHER", "INDEXER", "QUERY", "APP"} {
		env["MILLRACE_NATS_"+user+"_PASSWORD"] = "knats" + strings.ToLower(user)
	}
	for _, user := range []string{"WRITER", "READER", "MIGRATOR"} {
		env["MILLRACE_CLICKHOUSE_"+user+"_PASSWORD"] = "kclickhouse" + strings.ToLower(user)
	}
	return env
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
