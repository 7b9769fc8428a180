package bus

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// sighting is one thing that the watcher heard.
type sighting struct {
	kind     sightingKind
	key      string
	holder   string // "" for a deleted key
	revision uint64
}

type sightingKind int

const (
	seenKey      sightingKind = iota
	seenBegin                 // a watch begins: all keys follow
	seenComplete              // all keys have been named
)

// lastSeen is what is known of one key, and since when on the own clock.
type lastSeen struct {
	holder   string
	revision uint64
	at       time.Time
	round    int // the watch in which it was last named
}

// leaseView is what an instance knows of the bucket.
type leaseView struct {
	members map[string]lastSeen
	shards  map[int]lastSeen
	round   int
	// naming: between seenBegin and seenComplete. complete: there has been one.
	naming, complete bool
}

func newLeaseView() leaseView {
	return leaseView{members: map[string]lastSeen{}, shards: map[int]lastSeen{}}
}

// see takes s in and reports the shard, if it is about one.
func (v *leaseView) see(s sighting, now time.Time, service string) (shard int, isShard bool) {
	switch s.kind {
	case seenBegin:
		v.round++
		v.naming = true
		return 0, false
	case seenComplete:
		v.naming, v.complete = false, true
		// What was not named is gone; the message that said so was missed.
		for name, seen := range v.members {
			if seen.round < v.round {
				delete(v.members, name)
			}
		}
		for n, seen := range v.shards {
			if seen.round < v.round {
				delete(v.shards, n)
			}
		}
		return 0, false
	}
	rest, _ := strings.CutPrefix(s.key, service+".")
	kind, name, _ := strings.Cut(rest, ".")
	switch kind {
	case "member":
		if seen, changed := v.update(v.members[name], s, now); s.holder == "" {
			delete(v.members, name)
		} else if changed {
			v.members[name] = seen
		}
	case "shard":
		n, err := strconv.Atoi(name)
		if err != nil {
			return 0, false // not a key of ours
		}
		if seen, changed := v.update(v.shards[n], s, now); changed {
			v.shards[n] = seen
		}
		return n, true
	}
	return 0, false
}

// update keeps the time of a revision that was known before. A lower revision
// is old news, except while all keys are named: then the bucket is a new one.
func (v *leaseView) update(seen lastSeen, s sighting, now time.Time) (lastSeen, bool) {
	if s.revision == seen.revision {
		seen.round = v.round
		return seen, true
	}
	if s.revision < seen.revision && !v.naming {
		return seen, false
	}
	return lastSeen{holder: s.holder, revision: s.revision, at: now, round: v.round}, true
}

// restartClocks gives everybody another TTL.
func (v *leaseView) restartClocks(now time.Time) {
	for name, seen := range v.members {
		seen.at = now
		v.members[name] = seen
	}
	for n, seen := range v.shards {
		seen.at = now
		v.shards[n] = seen
	}
}

// alive returns all members that gave a sign of life within ttl, self among
// them, and how many shards each holds.
func (v *leaseView) alive(now time.Time, ttl time.Duration, self string, working int) (members []string, counts map[string]int) {
	members = append(members, self)
	for name, seen := range v.members {
		if name != self && now.Before(seen.at.Add(ttl)) {
			members = append(members, name)
		}
	}
	counts = map[string]int{}
	for _, seen := range v.shards {
		counts[seen.holder]++
	}
	counts[self] = working
	return members, counts
}

// fairShare is how many shards self should hold: the shards divided by the
// members, and the remainder one each to those who hold most already, so that
// as few as possible move. All members come to the same result once they have
// seen the same keys; the shares add up to shards.
func fairShare(self string, members []string, counts map[string]int, shards int) int {
	members = slices.Clone(members)
	slices.SortFunc(members, func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	share := shards / len(members)
	if slices.Index(members, self) < shards%len(members) {
		share++
	}
	return share
}

// watch tells out what happens in the bucket until ctx is done. The own signs
// of life come back through it, so a watch that is silent for longer than they
// take is broken, whatever the client believes, and is begun again.
func (l *Leases) watch(ctx context.Context, out chan<- sighting) {
	delay := l.cfg.Renew / 4
	for ctx.Err() == nil {
		began := time.Now()
		l.watchOnce(ctx, out)
		if time.Since(began) > 4*l.cfg.Renew {
			delay = l.cfg.Renew / 4
		}
		select {
		case <-time.After(delay/2 + rand.N(delay/2)): //nolint:gosec // no secret
		case <-ctx.Done():
		}
		delay = min(2*delay, l.cfg.Renew)
	}
}

func (l *Leases) watchOnce(parent context.Context, out chan<- sighting) {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	silence := time.AfterFunc(3*l.cfg.Renew, cancel)
	defer silence.Stop()
	watcher, err := l.cfg.KV.Watch(ctx, l.cfg.Service+".>")
	if err != nil {
		return // the renewals meet the same error and log it
	}
	defer func() { _ = watcher.Stop() }() // it may have ended by itself

	tell := func(s sighting) bool {
		select {
		case out <- s:
			return true
		case <-ctx.Done():
			return false
		}
	}
	if !tell(sighting{kind: seenBegin}) {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case entry, open := <-watcher.Updates():
			if !open {
				return
			}
			silence.Reset(3 * l.cfg.Renew)
			if !tell(sightingOf(entry)) {
				return
			}
		}
	}
}

func sightingOf(entry jetstream.KeyValueEntry) sighting {
	if entry == nil {
		return sighting{kind: seenComplete}
	}
	s := sighting{key: entry.Key(), revision: entry.Revision()}
	if entry.Operation() == jetstream.KeyValuePut {
		s.holder = string(entry.Value())
	}
	return s
}
