package points

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/millrace/millrace/libs/failpoint"
)

// build compiles programs with build tags, "" for a release.
func build(t *testing.T, dir, tags string, names ...string) {
	t.Helper()
	for _, name := range names {
		cmd := exec.CommandContext(t.Context(), "go", "build", "-tags", tags, "-o", filepath.Join(dir, name), "./services/"+name+"/cmd/"+name)
		cmd.Dir = "../../../.."
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", name, err, out)
		}
	}
}

// A release, of a service or of what people run, can neither be told to kill itself nor given another clock: of the
// points not even the names are in it. That they are found where they are is
// the other half.
func TestNoPointIsInARelease(t *testing.T) {
	programs := []string{"ingester", "enricher", "indexer", "query", "millrace"}
	released, armed := t.TempDir(), t.TempDir()
	build(t, released, "", programs...)
	build(t, armed, "failpoint", programs...)
	read := func(dir, program string) []byte {
		t.Helper()
		binary, err := os.ReadFile(filepath.Join(dir, program))
		if err != nil {
			t.Fatal(err)
		}
		return binary
	}
	for _, program := range programs {
		without, with := read(released, program), read(armed, program)
		texts := []string{"MILLRACE_FAILPOINTS", "MILLRACE_CLOCK_FILE"}
		for _, point := range failpoint.Names() {
			texts = append(texts, string(point))
		}
		for _, text := range texts {
			if bytes.Contains(without, []byte(text)) {
				t.Errorf("the released %s holds %q", program, text)
			}
			if !bytes.Contains(with, []byte(text)) {
				t.Errorf("the %s with failpoints does not hold %q", program, text)
			}
		}
	}
}
