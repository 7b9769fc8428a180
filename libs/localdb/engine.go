package localdb

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// EnvEngine names the environment variable that points at a clickhouse binary or a libchdb.so.
const EnvEngine = "MILLRACE_CLICKHOUSE"

// oldestMajor is the first major version that this product's protocol with ClickHouse was proved on: the defaults of
// deduplication and asynchronous inserts changed in 26.2.
const oldestMajor = 26

// Engine is a ClickHouse that can be started.
type Engine struct {
	Path    string // absolute
	Library bool   // a libchdb.so, else a clickhouse binary
}

// FindEngine looks for a ClickHouse in this order: explicit, then the environment variable MILLRACE_CLICKHOUSE, then
// beside the executable, then `clickhouse` on PATH if its version will do, then the npm package that `make engine`
// installs, in a folder .engine of the executable's or the working directory's ancestors.
// The error wraps [ErrNoEngine].
func FindEngine(ctx context.Context, explicit string) (Engine, error) {
	for _, given := range []struct{ from, path string }{{"the configuration", explicit}, {EnvEngine, os.Getenv(EnvEngine)}} {
		if given.path == "" {
			continue
		}
		if !isFile(given.path) {
			return Engine{}, fmt.Errorf("%w: %s names %s, which is not a file", ErrNoEngine, given.from, given.path)
		}
		return engineAt(given.path)
	}
	var roots []string
	if exe, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(exe); err == nil {
			exe = real
		}
		dir := filepath.Dir(exe)
		for _, name := range []string{"libchdb.so", "clickhouse"} {
			if path := filepath.Join(dir, name); isFile(path) {
				return engineAt(path)
			}
		}
		roots = append(roots, dir)
	}
	unfit := ""
	if path, err := exec.LookPath("clickhouse"); err == nil {
		major, version, err := binaryVersion(ctx, path)
		switch {
		case err != nil:
			unfit = fmt.Sprintf("; %s does not tell its version (%v)", path, err)
		case major < oldestMajor:
			unfit = fmt.Sprintf("; %s is version %s, older than %d", path, version, oldestMajor)
		default:
			return engineAt(path)
		}
	}
	if wd, err := os.Getwd(); err == nil {
		roots = append(roots, wd)
	}
	for _, root := range roots {
		if path := searchUp(root, filepath.Join(".engine", "node_modules", "@chdb", "lib-"+platform(), "libchdb.so")); path != "" {
			return engineAt(path)
		}
	}
	return Engine{}, fmt.Errorf("%w: run `make engine`, or point %s at a clickhouse binary (%d or newer) or a libchdb.so%s",
		ErrNoEngine, EnvEngine, oldestMajor, unfit)
}

func engineAt(path string) (Engine, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return Engine{}, fmt.Errorf("path of the engine: %w", err)
	}
	ext := filepath.Ext(abs)
	return Engine{Path: abs, Library: ext == ".so" || ext == ".dylib"}, nil
}

// platform is the suffix of the npm package's name; musl has none.
func platform() string {
	arch := runtime.GOARCH
	if arch == "amd64" {
		arch = "x64"
	}
	if runtime.GOOS == "linux" {
		return "linux-" + arch + "-gnu"
	}
	return runtime.GOOS + "-" + arch
}

func searchUp(dir, rel string) string {
	for {
		if path := filepath.Join(dir, rel); isFile(path) {
			return path
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return ""
		}
		dir = parent
	}
}

func isFile(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular()
}

var versionText = regexp.MustCompile(`version (\d+)(\.\d+)+`)

func binaryVersion(ctx context.Context, path string) (major int, version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "local", "--version").Output()
	if err != nil {
		return 0, "", fmt.Errorf("%s local --version: %w", path, err)
	}
	m := versionText.FindStringSubmatch(string(out))
	if m == nil {
		return 0, "", fmt.Errorf("%s local --version printed %q", path, strings.TrimSpace(string(out)))
	}
	major, err = strconv.Atoi(m[1])
	return major, strings.TrimPrefix(m[0], "version "), err
}
