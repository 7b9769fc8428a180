package access

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/millrace/millrace/libs/bus"
)

// file is what an access file says.
type file struct {
	keys  []held
	stamp stamp
}

// entry is one key in the file:
//
//	keys:
//	  - name: dashboard
//	    sha256: <hex digest of the key>       # or key: <the key itself, at least 16 characters>
//	    scopes: [reports, live]
//	    sources: [shop]                       # or ["*"], all of them; a file that was cut off here is none
//	    quota: {per_minute: 60, concurrent: 4, seconds_per_hour: 600, max_time: 10s}
type entry struct {
	Name    string   `yaml:"name"`
	Key     string   `yaml:"key"`
	SHA256  string   `yaml:"sha256"`
	Scopes  []Scope  `yaml:"scopes"`
	Sources []string `yaml:"sources"`
	Quota   Quota    `yaml:"quota"`
}

// ErrFile says that an access file cannot be used.
var ErrFile = errors.New("bad access file")

// everySource stands for all of them in sources; it cannot be the name of one.
const everySource = "*"

// readFile reads a file of keys. One that is as it was in old is the same; what the others of its names have used is taken
// over. None may be among fixed.
func readFile(name string, old *file, fixed []held) (*file, error) {
	f := &file{stamp: stampOf(name)} // before it is read: what changes meanwhile is read again
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("access file: %w", err)
	}
	var doc struct {
		Keys *[]yaml.Node `yaml:"keys"`
	}
	if err := strict(text, &doc); err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrFile, name, err)
	}
	if doc.Keys == nil { // also a file that is about to be written
		return nil, fmt.Errorf("%w %s: keys is missing; without any key it is keys: []", ErrFile, name)
	}
	for i := range *doc.Keys {
		node := &(*doc.Keys)[i]
		h, err := readEntry(node)
		if err != nil {
			return nil, fmt.Errorf("%w %s: key %d, line %d: %w", ErrFile, name, i+1, node.Line, err)
		}
		for _, other := range fixed {
			if other.digest == h.digest {
				return nil, fmt.Errorf("%w %s: %s is the same key as %s: make another", ErrFile, name, h.key.name, other.what())
			}
		}
		for _, other := range f.keys {
			if other.key.name == h.key.name || other.digest == h.digest {
				return nil, fmt.Errorf("%w %s: %s and %s have the same name or key", ErrFile, name, other.key.name, h.key.name)
			}
		}
		if old != nil {
			if i := slices.IndexFunc(old.keys, func(o held) bool { return o.key.name == h.key.name }); i >= 0 {
				if was := old.keys[i]; was.digest == h.digest && was.key.same(h.key) {
					h.key = was.key
				} else {
					h.key.used = was.key.used
				}
			}
		}
		f.keys = append(f.keys, h)
	}
	return f, nil
}

func readEntry(node *yaml.Node) (held, error) {
	text, err := yaml.Marshal(node)
	if err != nil {
		return held{}, err
	}
	var e entry
	if err := strict(text, &e); err != nil {
		return held{}, err
	}
	sources := e.Sources
	if slices.Equal(sources, []string{everySource}) {
		sources = nil
	}
	h := held{key: NewKey(e.Name, sources, e.Scopes...)}
	h.key.quota, h.key.gone = e.Quota, make(chan struct{})
	switch {
	case e.Name == "" || len(e.Name) > 64:
		return held{}, errors.New("name: want 1 to 64 characters")
	case e.Name == everything || e.Name == nobody || strings.HasPrefix(e.Name, writes):
		return held{}, fmt.Errorf("name %s: other keys are called so", e.Name)
	case len(e.Sources) == 0: // to see all by something that is missing is to fail open
		return held{}, fmt.Errorf("%s: sources: want the sources that the key sees, or [%q] for all", e.Name, everySource)
	case (e.Key == "") == (e.SHA256 == ""):
		return held{}, fmt.Errorf("%s: want one of key and sha256", e.Name)
	case e.Key != "" && len(e.Key) < 16:
		return held{}, fmt.Errorf("%s: a key of %d characters can be guessed, at least 16 are needed", e.Name, len(e.Key))
	case e.Key != "":
		h.digest = sha256.Sum256([]byte(e.Key))
	default:
		sum, err := hex.DecodeString(e.SHA256)
		if err != nil || len(sum) != len(h.digest) {
			return held{}, fmt.Errorf("%s: sha256: want 64 hex digits, as from: printf %%s \"$KEY\" | sha256sum", e.Name)
		}
		copy(h.digest[:], sum)
	}
	if len(e.Scopes) == 0 {
		return held{}, fmt.Errorf("%s: scopes: want some of %v", e.Name, Scopes())
	}
	for _, s := range e.Scopes {
		if !slices.Contains(Scopes(), s) {
			return held{}, fmt.Errorf("%s: scope %q is unknown, there are %v", e.Name, s, Scopes())
		}
	}
	for _, s := range sources {
		if err := bus.ValidSource(s); err != nil {
			return held{}, fmt.Errorf("%s: %w", e.Name, err)
		}
	}
	if sources != nil && slices.Contains(e.Scopes, Admin) {
		return held{}, fmt.Errorf("%s: the scope admin tells about all sources, so it cannot go with some: sources: [%q]", e.Name, everySource)
	}
	if err := e.Quota.validate(); err != nil {
		return held{}, fmt.Errorf("%s: %w", e.Name, err)
	}
	return h, nil
}

// strict refuses members that nobody reads. An empty document has none.
func strict(text []byte, into any) error {
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(into); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
