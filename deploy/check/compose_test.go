package check

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/google/go-cmp/cmp"
)

// compose loads compose.yaml as `docker compose` does: its schema, interpolation and consistency are checked.
func compose(t *testing.T, env map[string]string) (*types.Project, error) {
	t.Helper()
	var list []string
	for k, v := range env {
		list = append(list, k+"="+v)
	}
	opts, err := cli.NewProjectOptions([]string{deployed("compose.yaml")}, cli.WithEnv(list))
	if err != nil {
		t.Fatal(err)
	}
	return opts.LoadProject(t.Context())
}

func TestCompose(t *testing.T) {
	p, err := compose(t, words())
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"clickhouse", "enricher", "indexer", "ingester", "migrate", "nats", "query"}
	if diff := cmp.Diff(want, p.ServiceNames()); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
	for name, s := range p.Services {
		tag := s.Image[strings.LastIndex(s.Image, ":")+1:]
		if !strings.Contains(s.Image, ":") || tag == "latest" {
			t.Errorf("%s: image %s is not pinned", name, s.Image)
		}
		if s.Restart == "" {
			t.Errorf("%s: no restart policy", name)
		}
		if s.HealthCheck == nil && name != "migrate" {
			t.Errorf("%s: no health check", name)
		}
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s: port %s is published on %q", name, port.Published, port.HostIP)
			}
		}
		for _, v := range s.Volumes {
			if v.Type == types.VolumeTypeBind {
				text(t, v.Source) // it is there
			}
		}
		if s.Build == nil {
			continue
		}
		if !s.ReadOnly || !slices.Contains(s.CapDrop, "ALL") {
			t.Errorf("%s: runs with a writable root or with capabilities", name)
		}
		text(t, filepath.Join(s.Build.Context, s.Build.Dockerfile))
	}
}

func TestComposeWithoutSecrets(t *testing.T) {
	for name := range words() {
		env := words()
		delete(env, name)
		if _, err := compose(t, env); err == nil || !strings.Contains(err.Error(), "secrets.sh") {
			t.Errorf("without %s: %v, want an error that names secrets.sh", name, err)
		}
	}
}

// TestSecrets runs secrets.sh: it gives everything that compose.yaml asks for, and nothing twice.
func TestSecrets(t *testing.T) {
	file := filepath.Join(t.TempDir(), ".env")
	run := func() string {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), deployed("secrets.sh"), file).CombinedOutput(); err != nil {
			t.Fatalf("secrets.sh: %v: %s", err, out)
		}
		return text(t, file)
	}
	written := run()
	if run() != written {
		t.Error("a second run changed the file")
	}
	env, seen := map[string]string{}, map[string]bool{}
	for line := range strings.Lines(written) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if seen[value] || len(value) < 32 {
			t.Errorf("%s: %q is short or a repeat", name, value)
		}
		env[name], seen[value] = value, true
	}
	if _, err := compose(t, env); err != nil {
		t.Error(err)
	}
}
