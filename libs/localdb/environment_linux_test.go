package localdb

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
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

// TestNiceness reads it of each thread: on Linux each has its own.
func TestNiceness(t *testing.T) {
	s := start(t, testConfig(t))
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", s.Pid()))
	if err != nil || len(threads) < 10 {
		t.Fatalf("the threads of the engine: %q, %v", threads, err)
	}
	for _, path := range threads {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		nice, err := strconv.Atoi(fields[16])            // proc_pid_stat(5): the 19th, of which 2 are cut
		if err != nil || nice >= 0 && nice != niceness { // less is what the engine gives a thread that looks after its memory
			t.Errorf("%s: %s", path, stat)
		}
	}
}
