package bus

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// OwnerSilence is for how long a lease may not be renewed, or a word not be
// repeated, before an observer takes its process for gone. Both come every two
// seconds.
const OwnerSilence = 6 * time.Second

// whyKey is in the keys of words, and in no others.
const whyKey = ".why."

// Observer knows from the bucket of leases who works on what and what they say
// of it. It takes no lease. It is safe for concurrent use.
type Observer struct {
	mu    sync.Mutex // guards all below
	seen  map[string]observed
	round int
	// asked is since when the members of a service are looked at.
	asked map[string]time.Time
	// complete since a watch has named all keys; troubled while there is none.
	complete, troubled bool
	// naming: a watch has begun to name all keys. What it names was said at some
	// time before.
	naming bool
}

type observed struct {
	value    string
	revision uint64
	at       time.Time // when the revision came, on the own clock
	round    int
}

// NewObserver knows nothing before Run.
func NewObserver() *Observer {
	return &Observer{seen: map[string]observed{}, asked: map[string]time.Time{}, troubled: true}
}

// Owner is who holds a shard (or sink) of a service, "" for nobody, and since
// when it has given no sign of life; known is false while the bucket cannot be
// watched.
func (o *Observer) Owner(service string, lane int) (instance string, silent time.Duration, known bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.complete || o.troubled {
		return "", 0, false
	}
	key := service + ".shard." + strconv.Itoa(lane)
	s, ok := o.seen[key]
	if !ok { // never held: the silence begins with the first look
		s = observed{at: time.Now(), round: o.round}
		o.seen[key] = s
	}
	return s.value, time.Since(s.at), true
}

// Said is what a service says of a shard at present; false is nothing.
func (o *Observer) Said(service string, shard int) (Why, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s, ok := o.seen[service+".why."+strconv.Itoa(shard)]
	if !ok || s.value == "" || time.Since(s.at) >= OwnerSilence {
		return Why{}, false
	}
	var w Why
	if json.Unmarshal([]byte(s.value), &w) != nil || w.Reason == "" {
		return Why{}, false // somebody else's, or taken back
	}
	return w, true
}

// Run watches until ctx is done.
func (o *Observer) Run(ctx context.Context, js jetstream.JetStream, names Names) error {
	const first, last = 100 * time.Millisecond, 2 * time.Second
	delay := first
	for {
		if o.watch(ctx, js, names) {
			delay = first
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(delay/2 + rand.N(delay)): //nolint:gosec // no secret
		}
		delay = min(2*delay, last)
	}
}

// watch follows the bucket until it falls silent, and says whether it heard
// anything after it had named all keys. Silence is either an installation
// without any process or a watch that is broken; a new one tells.
func (o *Observer) watch(parent context.Context, js jetstream.JetStream, names Names) (heard bool) {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	silence := time.AfterFunc(OwnerSilence/2, cancel)
	defer silence.Stop()
	kv, err := js.KeyValue(ctx, names.BucketLeases())
	if err != nil {
		o.lost()
		return false
	}
	watcher, err := kv.WatchAll(ctx)
	if err != nil {
		o.lost()
		return false
	}
	defer func() { _ = watcher.Stop() }() // it may have ended by itself
	o.begin()
	named := false
	for {
		select {
		case <-ctx.Done():
			if !named && parent.Err() == nil {
				o.lost()
			}
			return heard
		case entry, open := <-watcher.Updates():
			switch {
			case !open:
				return heard
			case entry == nil:
				o.named()
				named = true
			default:
				heard = named
				o.see(entry)
			}
			silence.Reset(OwnerSilence / 2)
		}
	}
}

func (o *Observer) begin() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.round++
	o.naming = true
}

// lost: what is not heard is no sign of death.
func (o *Observer) lost() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.troubled = true
}

// named ends the list of all keys: what was not in it is gone.
func (o *Observer) named() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for key, s := range o.seen {
		if s.round < o.round && strings.Contains(key, ".member.") {
			delete(o.seen, key) // there are new ones in every life
			continue
		}
		if s.round < o.round && s.value != "" {
			s = observed{at: time.Now(), round: o.round}
		}
		// A sign of life that could not be heard counts as heard now. A word does
		// not: it counts when it is said again.
		if o.troubled && !strings.Contains(key, whyKey) {
			s.at = time.Now()
		}
		o.seen[key] = s
	}
	if o.troubled {
		for service := range o.asked {
			o.asked[service] = time.Now()
		}
	}
	o.complete, o.troubled, o.naming = true, false, false
}

func (o *Observer) see(entry jetstream.KeyValueEntry) {
	word := strings.Contains(entry.Key(), whyKey)
	if !word && !strings.Contains(entry.Key(), ".shard.") && !strings.Contains(entry.Key(), ".member.") {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.seen[entry.Key()]
	s.round = o.round
	if s.revision != entry.Revision() {
		s.revision, s.at, s.value = entry.Revision(), time.Now(), ""
		if entry.Operation() == jetstream.KeyValuePut {
			s.value = string(entry.Value())
		}
		if word && o.naming { // it lies there for an hour after it was said
			s.at = s.at.Add(-OwnerSilence)
		}
	}
	o.seen[entry.Key()] = s
}
