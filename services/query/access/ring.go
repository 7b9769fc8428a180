package access

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/libs/bus/sources"
	"github.com/millrace/millrace/libs/bus/writekey"
)

// Config of a key ring.
type Config struct {
	APIKeys   []string // that may ask everything
	File      string   // of further keys, in YAML; "" is none
	WriteKeys *writekey.Keys
	Sources   *sources.Registry // whose disabled sources have no key; nil: all sources are there as the flags say
	// SourceKeys: the write keys that Sources knows may ask too, as those of
	// WriteKeys do.
	SourceKeys bool
	Writes     Quota        // of each write key; of those of Sources, all keys of one source together
	Log        *slog.Logger // required with a file
}

// Ring knows the keys.
type Ring struct {
	cfg    Config
	fixed  []held               // of APIKeys and WriteKeys
	filed  atomic.Pointer[file] // what the file last said
	closed bool                 // a request must show an API key

	mu      sync.Mutex // guards all below
	sourced map[string]*Key
}

// held is a key as it is kept.
type held struct {
	digest [sha256.Size]byte
	key    *Key
	writes bool // it is a source's write key
}

// what says which key it is, without showing it.
func (h held) what() string {
	if h.writes {
		source, _ := strings.CutPrefix(h.key.name, writes)
		return "a write key of the source " + source
	}
	return "an API key"
}

// New reads the file, if there is one, and returns the ring. A file that cannot be read is an error here; later it is
// only logged.
func New(cfg Config) (*Ring, error) {
	r := &Ring{cfg: cfg, closed: len(cfg.APIKeys) > 0 || cfg.File != ""}
	for _, k := range cfg.APIKeys {
		r.fixed = append(r.fixed, held{digest: sha256.Sum256([]byte(k)), key: Everything()})
	}
	if cfg.WriteKeys != nil {
		for digest, source := range cfg.WriteKeys.Digests() {
			h := held{digest: digest, writes: true, key: NewKey(writes+source, []string{source}, Write)}
			h.key.quota = cfg.Writes
			for _, other := range r.fixed {
				if other.digest == digest {
					return nil, fmt.Errorf("%s is %s too: a write key may be public, make another", other.what(), h.what())
				}
			}
			r.fixed = append(r.fixed, h)
		}
	}
	for _, h := range r.fixed {
		h.key.crowd = r.asking
	}
	r.filed.Store(&file{})
	if cfg.File != "" {
		f, err := readFile(cfg.File, nil, r.fixed)
		if err != nil {
			return nil, err
		}
		r.take(f)
	}
	return r, nil
}

// take lets the keys of a file in, and those that are no longer there out.
func (r *Ring) take(f *file) {
	for _, h := range f.keys {
		if h.key.crowd == nil { // one that is as it was is being used
			h.key.crowd = r.asking
		}
	}
	for _, was := range r.filed.Swap(f).keys {
		if !slices.ContainsFunc(f.keys, func(h held) bool { return h.key == was.key }) {
			close(was.key.gone)
		}
	}
}

// asking is how many keys may ask questions: all but the write keys.
func (r *Ring) asking() int {
	n := len(r.filed.Load().keys)
	for _, h := range r.fixed {
		if !h.writes {
			n++
		}
	}
	return n
}

// Closed says whether every request must show an API key: there is at least one, or a file of them.
func (r *Ring) Closed() bool { return r.closed }

// reread is how often the file's time is looked at.
const reread = 2 * time.Second

// Run reads the file again whenever it changes, until ctx is done. A key that is no longer in it is refused from the next
// request on; what a key has used stays counted under its name.
func (r *Ring) Run(ctx context.Context) error {
	if r.cfg.File == "" {
		<-ctx.Done()
		return ctx.Err()
	}
	tick := time.NewTicker(reread)
	defer tick.Stop()
	seen := r.filed.Load().stamp
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		now := stampOf(r.cfg.File)
		if now == seen {
			continue
		}
		seen = now
		f, err := readFile(r.cfg.File, r.filed.Load(), r.fixed)
		if err != nil {
			r.cfg.Log.Warn("the access file cannot be used, the keys stay as they were", "file", r.cfg.File, "err", err)
			continue
		}
		r.take(f)
		r.cfg.Log.Info("the access file was read again", "file", r.cfg.File, "keys", len(f.keys))
	}
}

// stamp tells one content of a file from another.
type stamp struct {
	at   time.Time
	size int64
}

func stampOf(name string) stamp {
	info, err := os.Stat(name)
	if err != nil {
		return stamp{}
	}
	return stamp{info.ModTime(), info.Size()}
}

// Shows says whether a request shows a key, of whatever kind and known or not.
func Shows(req *http.Request) bool {
	return req.Header.Get("X-Write-Key") != "" || req.Header.Get("Authorization") != ""
}

// Find is the key that a request shows: as Authorization: Bearer, and a write key also as X-Write-Key or as the user name
// of Basic, as at the ingester's door.
func (r *Ring) Find(req *http.Request) (*Key, bool) {
	if k := req.Header.Get("X-Write-Key"); k != "" {
		return r.find(k, true)
	}
	if user, _, ok := req.BasicAuth(); ok {
		return r.find(user, true)
	}
	scheme, token, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return nil, false
	}
	return r.find(strings.TrimSpace(token), false)
}

// Lookup finds a key by itself, for doors that are no HTTP.
func (r *Ring) Lookup(token string) (*Key, bool) { return r.find(token, false) }

func (r *Ring) find(token string, onlyWrites bool) (found *Key, ok bool) {
	given := sha256.Sum256([]byte(token))
	for _, list := range [][]held{r.fixed, r.filed.Load().keys} { // all of them, whichever it is
		for _, h := range list {
			if subtle.ConstantTimeCompare(h.digest[:], given[:]) == 1 && (h.writes || !onlyWrites) && found == nil {
				found = h.key
			}
		}
	}
	if token == "" {
		return nil, false
	}
	source, isWrite := r.cfg.Sources.ByKey(token)
	switch {
	case found != nil && found.Allows(Write):
		// What the flag says of the key holds, unless its source was disabled since.
		if s := r.cfg.Sources.Find(found.sources[0]); s != nil && s.Disabled() {
			return nil, false
		}
	case isWrite && r.cfg.SourceKeys:
		return r.ofSource(source.Name), true
	case isWrite: // even if it is an API key too: a write key may be public
		return nil, false
	}
	return found, found != nil
}

// Settled says whether a key that is not known is nobody's: before the sources
// have been read it may be one of theirs. It is asked before the key is looked
// up, as they may be read meanwhile.
func (r *Ring) Settled() bool { return !r.cfg.SourceKeys || r.cfg.Sources.Loaded() }

// ofSource is the key of a source that is in the bucket: one for all its write
// keys, so that what they have used stays counted.
func (r *Ring) ofSource(name string) *Key {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.sourced[name]
	if k == nil {
		k = NewKey(writes+name, []string{name}, Write)
		k.quota, k.crowd = r.cfg.Writes, r.asking
		if r.sourced == nil {
			r.sourced = map[string]*Key{}
		}
		r.sourced[name] = k
	}
	return k
}

// String never shows a key.
func (r *Ring) String() string {
	return fmt.Sprintf("%d keys", len(r.fixed)+len(r.filed.Load().keys))
}
