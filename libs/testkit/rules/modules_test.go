package rules

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// ours begins the import path of everything in this repository.
const ours = "github.com/millrace/millrace/"

// module is one go.mod of the repository.
type module struct {
	Dir string // below the root, with slashes: services/ingester
	Mod modFile
}

// modFile is what go mod edit -json prints.
type modFile struct {
	Module    struct{ Path string }
	Go        string
	Toolchain string
	Require   []require
	Replace   []replace
}

type require struct {
	Path, Version string
	Indirect      bool
}

type replace struct {
	Old, New struct{ Path, Version string }
}

// listed is what go list -json prints of one package.
type listed struct {
	ImportPath string
	Imports, TestImports, XTestImports,
	Deps []string
}

// root is the folder of go.work above this one.
func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir
		}
		if parent := filepath.Dir(dir); parent != dir {
			dir = parent
			continue
		}
		t.Fatal("no go.work above the test: it must run inside a clone of the repository")
	}
}

// goCommand runs the go command in dir with GOWORK=off, the way a module is
// built that somebody fetches alone, and returns its standard output.
func goCommand(t *testing.T, dir string, args ...string) ([]byte, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return out, fmt.Errorf("go %s in %s: %w\n%s", strings.Join(args, " "), dir, err, exit.Stderr)
	}
	return out, err
}

// peers holds the programs of others that make bench-peers builds and measures.
// What they require is theirs: not our versions, and minutes to build.
const peers = "libs/testkit/bench/peers"

// modules reads every go.mod of the repository but those of peers.
func modules(t *testing.T) []module {
	t.Helper()
	top := root(t)
	var all []module
	err := filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && p != top && (strings.HasPrefix(name, ".") || name == "node_modules" || name == "testdata") {
			return fs.SkipDir // installed things, not ours
		}
		if d.IsDir() && p == filepath.Join(top, filepath.FromSlash(peers)) {
			return fs.SkipDir
		}
		if name != "go.mod" {
			return nil
		}
		dir, err := filepath.Rel(top, filepath.Dir(p))
		if err != nil {
			return err
		}
		out, err := goCommand(t, filepath.Dir(p), "mod", "edit", "-json")
		if err != nil {
			return err
		}
		m := module{Dir: filepath.ToSlash(dir)}
		if err := json.Unmarshal(out, &m.Mod); err != nil {
			return err
		}
		all = append(all, m)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 2 {
		t.Fatalf("found %d modules below %s", len(all), top)
	}
	return all
}

// packages lists the packages of a module, test files' imports included.
// Packages that cannot be resolved are listed all the same; the build test
// reports them.
func packages(t *testing.T, m module) []listed {
	t.Helper()
	out, err := goCommand(t, filepath.Join(root(t), m.Dir), "list", "-e", "-json=ImportPath,Imports,TestImports,XTestImports,Deps", "./...")
	if err != nil {
		t.Fatal(err)
	}
	var all []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestEveryModuleIsInTheWorkspace(t *testing.T) {
	out, err := goCommand(t, root(t), "work", "edit", "-json", "go.work")
	if err != nil {
		t.Fatal(err)
	}
	var work struct {
		Go  string
		Use []struct{ DiskPath string }
	}
	if err := json.Unmarshal(out, &work); err != nil {
		t.Fatal(err)
	}
	var used, found []string
	for _, u := range work.Use {
		used = append(used, path.Clean(u.DiskPath))
	}
	for _, m := range modules(t) {
		found = append(found, m.Dir)
		if want := ours + m.Dir; m.Mod.Module.Path != want {
			t.Errorf("%s/go.mod names the module %s, want %s: the path says where the code is", m.Dir, m.Mod.Module.Path, want)
		}
	}
	slices.Sort(used)
	slices.Sort(found)
	if !slices.Equal(used, found) {
		t.Errorf("go.work uses %v, the tree has %v: go build work must see every module", used, found)
	}
}

// A module that only builds inside the workspace cannot be used, vetted or
// released alone.
func TestEveryModuleBuildsAlone(t *testing.T) {
	for _, m := range modules(t) {
		t.Run(m.Dir, func(t *testing.T) {
			dir := filepath.Join(root(t), m.Dir)
			for _, problem := range ownRequirements(m) {
				t.Error(problem)
			}
			// go list sees what tests need without building it.
			if _, err := goCommand(t, dir, "list", "-deps", "-test", "./..."); err != nil {
				t.Errorf("a requirement is missing, go mod tidy adds it: %v", err)
			}
			if _, err := goCommand(t, dir, "build", "-o", os.DevNull, "./..."); err != nil {
				t.Error(err)
			}
		})
	}
}

// ownRequirements checks that the modules of this repository are required at
// v0.0.0 and replaced by their folder, which is what makes GOWORK=off work.
func ownRequirements(m module) (problems []string) {
	replaced := map[string]string{}
	for _, r := range m.Mod.Replace {
		replaced[r.Old.Path] = r.New.Path
		if !strings.HasPrefix(r.Old.Path, ours) {
			problems = append(problems, fmt.Sprintf("%s replaces %s: only modules of this repository may be replaced, a replacement does not reach whoever uses the module", m.Dir, r.Old.Path))
		}
	}
	for _, r := range m.Mod.Require {
		dir, own := strings.CutPrefix(r.Path, ours)
		if !own {
			continue
		}
		if r.Version != "v0.0.0" || path.Join(m.Dir, replaced[r.Path]) != dir {
			problems = append(problems, fmt.Sprintf("%s requires %s %s replaced by %q, want v0.0.0 replaced by the relative path of %s: one version for all, and each module builds with GOWORK=off", m.Dir, r.Path, r.Version, replaced[r.Path], dir))
		}
	}
	return problems
}

func TestEveryModuleUsesTheSameVersions(t *testing.T) {
	for _, problem := range versions(modules(t)) {
		t.Error(problem)
	}
}

// versions checks that all go.mod files agree, so that a module built alone is
// the same code as in the workspace.
func versions(all []module) (problems []string) {
	goVersions := map[string][]string{}
	required := map[string]map[string][]string{}
	for _, m := range all {
		language := m.Mod.Go
		if m.Mod.Toolchain != "" {
			language += " with toolchain " + m.Mod.Toolchain
		}
		goVersions[language] = append(goVersions[language], m.Dir)
		for _, r := range m.Mod.Require {
			if required[r.Path] == nil {
				required[r.Path] = map[string][]string{}
			}
			required[r.Path][r.Version] = append(required[r.Path][r.Version], m.Dir)
		}
	}
	if len(goVersions) > 1 {
		problems = append(problems, fmt.Sprintf("Go versions differ: %v: one language version for all", goVersions))
	}
	for _, path := range sorted(required) {
		if len(required[path]) > 1 {
			problems = append(problems, fmt.Sprintf("versions of %s differ: %v: tested together means shipped together; go work sync makes them equal", path, required[path]))
		}
	}
	return problems
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
