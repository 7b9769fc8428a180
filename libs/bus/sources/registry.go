package sources

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/libs/bus/writekey"
)

// Registry knows the sources: those of flags from the beginning, those of the
// bucket while Run runs, and as they were last known while NATS is away.
type Registry struct {
	static writekey.Keys
	log    *slog.Logger

	known  atomic.Pointer[known]
	loaded chan struct{} // closed when the bucket was read, or is not there
	once   sync.Once     // closes it

	mu   sync.Mutex          // guards all below
	told map[string]struct{} // what is wrong with the sources and was logged
}

// known is one state of all sources.
type known struct {
	keys   map[[sha256.Size]byte]holder // by the digest of each
	byName map[string]*Source
}

// holder is whom a key that works stands for.
type holder struct {
	source *Source
	ends   time.Time // zero: it does not
}

// New returns a registry that knows the keys of flags.
func New(static writekey.Keys, log *slog.Logger) *Registry {
	r := &Registry{static: static, log: log, loaded: make(chan struct{})}
	r.install(nil)
	return r
}

// ByKey finds the source that a key writes to, if both work. What is looked for
// is the digest of a guess: however much the time tells about the digests that
// are there, nobody can choose the next guess by its digest.
//
// Whoever refuses a key that is not found asks Loaded before, not after: between
// the two the sources may be read.
func (r *Registry) ByKey(key string) (*Source, bool) {
	if r == nil {
		return nil, false
	}
	h, ok := r.known.Load().keys[sha256.Sum256([]byte(key))]
	if !ok || !h.ends.IsZero() && !time.Now().Before(h.ends) {
		return nil, false
	}
	return h.source, true
}

// Find is a source by its name, nil when neither a flag nor the bucket names
// it. A disabled one is found.
func (r *Registry) Find(name string) *Source {
	if r == nil {
		return nil
	}
	return r.known.Load().byName[name]
}

// Loaded says whether the bucket was read since the start, or is not there.
// Before that a key that is not known may be a good one.
func (r *Registry) Loaded() bool {
	if r == nil {
		return false
	}
	select {
	case <-r.loaded:
		return true
	default:
		return false
	}
}

// Await waits for that, for a while at most. It needs Run to run.
func (r *Registry) Await(ctx context.Context, most time.Duration) {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-r.loaded:
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (r *Registry) load() { r.once.Do(func() { close(r.loaded) }) }

// install makes the records what is known. Only Run calls it after New.
func (r *Registry) install(records map[string]Record) {
	was := r.known.Load()
	k := &known{keys: map[[sha256.Size]byte]holder{}, byName: make(map[string]*Source, len(records))}
	for name, rec := range records {
		var before *Source
		if was != nil {
			before = was.byName[name]
		}
		k.byName[name] = newSource(rec, before)
	}
	wrong := map[string]struct{}{}
	owners := k.addStatic(&r.static)
	for _, s := range k.byAge() {
		k.addKeys(s, owners, func(format string, args ...any) { wrong[fmt.Sprintf(format, args...)] = struct{}{} })
	}
	r.known.Store(k)
	r.complain(wrong)
}

// addStatic adds the keys of flags and returns which source has which.
func (k *known) addStatic(static *writekey.Keys) map[[sha256.Size]byte]string {
	owners := map[[sha256.Size]byte]string{}
	for digest, name := range static.Digests() {
		s := k.byName[name]
		if s == nil {
			s = newSource(Record{Name: name}, nil)
			k.byName[name] = s
		}
		owners[digest] = name // also of a disabled source: nobody else is to have its key
		if !s.Disabled() {
			k.keys[digest] = holder{source: s}
		}
	}
	return owners
}

// addKeys adds the keys that a record has, but those that somebody has already.
func (k *known) addKeys(s *Source, owners map[[sha256.Size]byte]string, wrong func(string, ...any)) {
	for i := range s.record.Keys {
		key := &s.record.Keys[i]
		digest, err := key.digest()
		if err != nil { // parse has looked
			continue
		}
		if owner, taken := owners[digest]; taken {
			if owner != s.Name {
				wrong("key %s of source %s is a key of source %s too, which has it", key.ID, s.Name, owner)
			}
			continue
		}
		owners[digest] = s.Name
		if !s.Disabled() && !key.Disabled {
			k.keys[digest] = holder{source: s, ends: key.Ends}
		}
	}
}

// byAge lists the sources, the oldest first.
func (k *known) byAge() []*Source {
	all := make([]*Source, 0, len(k.byName))
	for _, s := range k.byName {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *Source) int {
		return cmp.Or(a.record.Created.Compare(b.record.Created), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// complain logs what is wrong, and was not before.
func (r *Registry) complain(wrong map[string]struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for text := range wrong {
		if _, told := r.told[text]; !told {
			r.log.Warn("a write key is ambiguous", "why", text)
		}
	}
	r.told = wrong
}
