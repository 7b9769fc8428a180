package up

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/millrace/millrace/libs/localdb"
)

// Secrets are made once and kept in the directory, readable by its owner only.
type Secrets struct {
	// WriteKeys by source.
	WriteKeys map[string]string `json:"write_keys"`
	// ClickHouse passwords by the role of their user.
	ClickHouse struct {
		Writer   string `json:"millrace_writer"`
		Reader   string `json:"millrace_reader"`
		Migrator string `json:"millrace_migrator"`
	} `json:"clickhouse_passwords"`
}

const secretsFile = "secrets.json"

// ReadSecrets returns the secrets of the installation in dir. The error wraps
// fs.ErrNotExist when there is none.
func ReadSecrets(dir string) (Secrets, error) {
	var s Secrets
	path := filepath.Join(dir, secretsFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return s, fmt.Errorf("secrets: %w", err)
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("%s is damaged (%w): delete it and new secrets are made", path, err)
	}
	return s, nil
}

// keepSecrets reads the secrets and makes those that are missing. given, if
// set, is the source's key and is kept as such. Without a source no key is made.
func keepSecrets(dir, source, given string) (Secrets, error) {
	s, err := ReadSecrets(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	changed := false
	if s.WriteKeys == nil {
		s.WriteKeys = map[string]string{}
	}
	switch {
	case source == "":
	case given != "" && s.WriteKeys[source] != given:
		s.WriteKeys[source], changed = given, true
	case s.WriteKeys[source] == "":
		s.WriteKeys[source], changed = "mr_"+strings.ToLower(rand.Text()), true
	}
	made := localdb.NewPasswords()
	for have, fresh := range map[*string]string{
		&s.ClickHouse.Writer: made.Writer, &s.ClickHouse.Reader: made.Reader, &s.ClickHouse.Migrator: made.Migrator,
	} {
		if *have == "" {
			*have, changed = fresh, true
		}
	}
	if !changed {
		return s, nil
	}
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return s, fmt.Errorf("secrets: %w", err)
	}
	return s, replaceFile(filepath.Join(dir, secretsFile), append(text, '\n'))
}

// replaceFile writes a file for its owner only; readers see the old content or
// the new one.
func replaceFile(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".*.tmp") // 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // it is ours, and half
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func (s Secrets) passwords() localdb.Passwords {
	return localdb.Passwords{Writer: s.ClickHouse.Writer, Reader: s.ClickHouse.Reader, Migrator: s.ClickHouse.Migrator}
}
