package localdb

import (
	"strings"
	"testing"
)

// TestEnvironment reads what SQL can read: the engine's own environment, as a file.
func TestEnvironment(t *testing.T) {
	t.Setenv("LOCALDB_TEST_SECRET", "word-of-the-parent")
	t.Setenv("TZ", "UTC")
	cfg := testConfig(t)
	s := start(t, cfg)
	got := strings.Split(strings.ReplaceAll(must(t, s, ReaderUser, cfg.Passwords.Reader, "SELECT file('/proc/self/environ')"), `\0`, "\n"), "\n")
	there := map[string]string{}
	for _, pair := range got {
		name, value, _ := strings.Cut(pair, "=")
		there[name] = value
	}
	if there["HOME"] != cfg.Dir || there["TZ"] != "UTC" || there["PATH"] == "" {
		t.Errorf("what the engine needs is missing: %q", got)
	}
	for name, value := range there {
		if strings.Contains(value, "word-of-the-parent") || strings.Contains(value, cfg.Passwords.Reader) {
			t.Errorf("%s shows %q", name, value)
		}
	}
}
