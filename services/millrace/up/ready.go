package up

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Ready is where everything of a running installation is: the content of
// --ready-file.
type Ready struct {
	Ingest           string `json:"ingest"` // http://127.0.0.1:8080
	Query            string `json:"query"`
	NATS             string `json:"nats"` // nats://127.0.0.1:4222
	ClickHouseHTTP   string `json:"clickhouse_http"`
	ClickHouseNative string `json:"clickhouse_native"` // 127.0.0.1:9000
	Admin            string `json:"admin"`
	Source           string `json:"source"`
	WriteKey         string `json:"write_key"`
}

const readyFile = "ready.json"

// ReadReady returns where the installation in dir can be reached. The error
// wraps fs.ErrNotExist when none is ready there. After a kill -9 the file is
// still there; then nothing answers at its addresses.
func ReadReady(dir string) (Ready, error) {
	var r Ready
	text, err := os.ReadFile(filepath.Join(dir, readyFile))
	if err != nil {
		return r, fmt.Errorf("running installation: %w", err)
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("running installation: %w", err)
	}
	return r, nil
}

// publish writes the files that say "ready", the directory's own and the one
// that was asked for.
func (r Ready) publish(paths ...string) error {
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("ready file: %w", err)
	}
	for _, path := range paths {
		if err := replaceFile(path, append(text, '\n')); err != nil {
			return fmt.Errorf("ready file: %w", err)
		}
	}
	return nil
}

// withdraw removes them.
func withdraw(paths ...string) error {
	var errs []error
	for _, path := range paths {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("ready file: %w", err))
		}
	}
	return errors.Join(errs...)
}

// readyFiles are the paths for publish and withdraw.
func (c *Config) readyFiles() []string {
	paths := []string{filepath.Join(c.Dir, readyFile)}
	if c.ReadyFile != "" {
		paths = append(paths, c.ReadyFile)
	}
	return paths
}
