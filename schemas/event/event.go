// Package event holds the contract of an event as clients send it: its JSON
// Schema, and examples of events that are accepted and refused. Every module's
// tests read the examples from here, so that all of them mean the same by an
// event. No logic lives here; libs/event decides, and its tests hold the schema
// and the examples to what it does.
//
// Each file below valid is one event. Each file below invalid/REASON is one
// that is refused for that reason. A line feed at the end of a file is not part
// of the event; all other bytes are.
package event

import (
	"bytes"
	"embed"
	"io/fs"
	"path"
	"strings"
)

//go:embed event.schema.json valid invalid
var files embed.FS

// Example is one event.
type Example struct {
	Name   string // the file's name without its ending
	Reason string // why it is refused; "" if it is accepted
	JSON   []byte // its bytes, which need not be JSON if it is refused
}

// Schema returns the JSON Schema (2020-12) of one event.
func Schema() []byte {
	return read("event.schema.json")
}

// Valid returns the examples that are accepted, by name.
func Valid() []Example {
	return examples("valid")
}

// Invalid returns the examples that are refused, by reason and name.
func Invalid() []Example {
	return examples("invalid")
}

func examples(dir string) []Example {
	var found []Example
	err := fs.WalkDir(files, dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		e := Example{
			Name: strings.TrimSuffix(path.Base(name), ".json"),
			JSON: bytes.TrimSuffix(read(name), []byte("\n")),
		}
		if dir == "invalid" {
			e.Reason = path.Base(path.Dir(name))
		}
		found = append(found, e)
		return nil
	})
	if err != nil {
		panic("embedded examples: " + err.Error()) // the files are in the binary
	}
	return found
}

func read(name string) []byte {
	data, err := files.ReadFile(name)
	if err != nil {
		panic("embedded file: " + err.Error()) // the files are in the binary
	}
	return data
}
