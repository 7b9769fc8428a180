package check

import (
	"context"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

const (
	testVersion = "v0.0.0-check"
	command     = "millrace" // the one image that is no service
)

var programs = []string{"ingester", "enricher", "indexer", "query", command}

// built is where the programs of the images lie; TestMain removes it.
var built = struct {
	once sync.Once
	dir  string
	err  error
}{}

func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir) // a leftover in the temporary directory harms nobody
	}
	os.Exit(code)
}

// program builds all images' programs on first use and returns the path of one.
func program(t *testing.T, name string) string {
	t.Helper()
	built.once.Do(func() {
		//nolint:usetesting // it outlives the first test that asks for it
		if built.dir, built.err = os.MkdirTemp("", "millrace-images-"); built.err == nil {
			built.err = buildImages(context.WithoutCancel(t.Context()), built.dir)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return filepath.Join(built.dir, "out", name)
}

// buildImages does what the Dockerfile's build stage does: it copies what .dockerignore lets through and runs the go
// build commands, once for each SERVICE.
func buildImages(ctx context.Context, dir string) error {
	src, out := filepath.Join(dir, "src"), filepath.Join(dir, "out")
	if err := copyContext(src); err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	dockerfile, err := os.ReadFile(deployed("Dockerfile"))
	if err != nil {
		return err
	}
	builds := regexp.MustCompile(`(?m)^\s+(go build .*)$`).FindAllStringSubmatch(string(dockerfile), -1)
	env := regexp.MustCompile(`(?m)^ENV (CGO_ENABLED=0 .*)$`).FindStringSubmatch(string(dockerfile))
	if len(builds) != 2 || env == nil {
		return fmt.Errorf("the Dockerfile has %d go build commands and the settings %q", len(builds), env)
	}
	run := func(line string, more ...string) error {
		cmd := exec.CommandContext(ctx, "sh", "-c", line)
		cmd.Dir = src
		cmd.Env = append(os.Environ(), strings.Fields(env[1])...)
		cmd.Env = append(cmd.Env, more...)
		if text, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s (%s): %w\n%s", line, more, err, text)
		}
		return nil
	}
	for _, name := range programs {
		line := strings.ReplaceAll(builds[0][1], "/out/service", filepath.Join(out, name))
		if err := run(line, "SERVICE="+name, "VERSION="+testVersion); err != nil {
			return err
		}
	}
	return run(strings.ReplaceAll(builds[1][1], "/out/probe", filepath.Join(out, "probe")))
}

// copyContext copies the build's context: .dockerignore excludes everything, then lists what is let through, then takes
// names out again.
func copyContext(to string) error {
	rules, err := os.ReadFile(filepath.Join(root, ".dockerignore"))
	if err != nil {
		return err
	}
	var kept, dropped []string
	for line := range strings.Lines(string(rules)) {
		line = strings.TrimSpace(line)
		if path, ok := strings.CutPrefix(line, "!"); ok {
			kept = append(kept, path)
		} else if name, ok := strings.CutPrefix(line, "**/"); ok {
			dropped = append(dropped, name)
		} else if line != "*" && line != "" && !strings.HasPrefix(line, "#") {
			return fmt.Errorf(".dockerignore: this test does not understand %q", line)
		}
	}
	for _, top := range kept {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			for _, pattern := range dropped {
				if hit, _ := filepath.Match(pattern, d.Name()); hit {
					if d.IsDir() {
						return fs.SkipDir
					}
					return nil
				}
			}
			rel, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			if d.IsDir() {
				return os.MkdirAll(filepath.Join(to, rel), 0o755)
			}
			if err := os.MkdirAll(filepath.Dir(filepath.Join(to, rel)), 0o755); err != nil {
				return err
			}
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(to, rel), content, 0o644)
		})
		if err != nil {
			return fmt.Errorf("copy %s: %w", top, err)
		}
	}
	return nil
}

// TestImages runs each image's program in an empty directory without an environment, and checks that the base that the
// Dockerfile gives it is enough: none for a static binary, glibc's loader for the other one.
func TestImages(t *testing.T) {
	dockerfile := text(t, deployed("Dockerfile"))
	for _, name := range append([]string{"probe"}, programs...) {
		path := program(t, name)
		f, err := elf.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		static := true
		for _, p := range f.Progs {
			static = static && p.Type != elf.PT_INTERP
		}
		f.Close()
		base := "static"
		if name == command {
			base = "glibc"
		}
		if static != (base == "static") {
			t.Errorf("%s: static is %t, its base is %s", name, static, base)
		}
		if name == "probe" {
			continue
		}
		if !strings.Contains(dockerfile, "FROM "+base+" AS for-"+name+"\n") {
			t.Errorf("%s: the Dockerfile does not put it on %s", name, base)
		}
		version, help := "--version", "-help"
		if name == command {
			version, help = "version", "--help"
		}
		if out := answer(t, path, nil, version); !strings.Contains(out, testVersion) {
			t.Errorf("%s %s prints %q, want the version of the build", name, version, out)
		}
		if out := answer(t, path, nil, help); !strings.Contains(out, "Usage") {
			t.Errorf("%s %s prints %q", name, help, out)
		}
	}
}

// answer runs a program to its end in an empty directory with nothing but env.
func answer(t *testing.T, path string, env []string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Dir, cmd.Env = t.TempDir(), append([]string{}, env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(path), args, err, out)
	}
	return string(out)
}
