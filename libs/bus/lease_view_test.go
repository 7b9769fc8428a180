package bus

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestFairShare(t *testing.T) {
	check := func(shards int, counts, want map[string]int) {
		t.Helper()
		var members []string
		for name := range counts {
			members = append(members, name)
		}
		for name, share := range want {
			if got := fairShare(name, members, counts, shards); got != share {
				t.Errorf("%d shards, held %v: %s gets %d, want %d", shards, counts, name, got, share)
			}
		}
	}
	check(4, map[string]int{"a": 0}, map[string]int{"a": 4})
	check(4, map[string]int{"a": 4, "b": 0}, map[string]int{"a": 2, "b": 2})
	check(4, map[string]int{"b": 2, "c": 2, "a": 0}, map[string]int{"a": 1, "b": 2, "c": 1})
	check(4, map[string]int{"a": 1, "b": 1, "c": 2}, map[string]int{"a": 1, "b": 1, "c": 2}) // nothing moves
	check(2, map[string]int{"a": 0, "b": 1, "c": 1}, map[string]int{"a": 0, "b": 1, "c": 1})
	check(1, map[string]int{"a": 0, "b": 0}, map[string]int{"a": 1, "b": 0})
}

// Whoever holds what: the shares add up, differ by one at most, and a state in
// which all have their share is at rest.
func TestFairShareAddsUpAndRests(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		shards := 1 + rnd.IntN(20)
		members := []string{"a", "b", "c", "d", "e", "f", "g"}[:1+rnd.IntN(7)]
		counts := map[string]int{}
		for range rnd.IntN(shards + 1) {
			counts[members[rnd.IntN(len(members))]]++
		}
		shares, sum := map[string]int{}, 0
		for _, m := range members {
			shares[m] = fairShare(m, members, counts, shards)
			sum += shares[m]
			if least := shards / len(members); shares[m] < least || shares[m] > least+1 {
				t.Fatalf("%d shards, held %v: %s gets %d", shards, counts, m, shares[m])
			}
		}
		if sum != shards {
			t.Fatalf("%d shards, held %v: shares %v add up to %d", shards, counts, shares, sum)
		}
		for _, m := range members {
			if again := fairShare(m, members, shares, shards); again != shares[m] {
				t.Fatalf("%d shards: %v is not at rest, %s would get %d", shards, shares, m, again)
			}
		}
	}
}

func TestLeaseView(t *testing.T) {
	const ttl = 6 * time.Second
	start := time.Now()
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	v := newLeaseView()
	key := func(seconds int, key, holder string, revision uint64) {
		v.see(sighting{key: key, holder: holder, revision: revision}, at(seconds), "indexer")
	}
	mark := func(kind sightingKind) { v.see(sighting{kind: kind}, start, "indexer") }
	alive := func(seconds int, want ...string) {
		t.Helper()
		got, _ := v.alive(at(seconds), ttl, "self", 0)
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("alive at %d s: %v, want %v", seconds, got, want)
		}
	}
	shard := func(what string, n int, holder string, seconds int) {
		t.Helper()
		if got := v.shards[n]; got.holder != holder || !got.at.Equal(at(seconds)) {
			t.Errorf("%s: shard %d is %q since %s, want %q since %d s", what, n, got.holder, got.at.Sub(start), holder, seconds)
		}
	}

	alive(0, "self")
	mark(seenBegin)
	key(0, "indexer.member.a", "a", 10)
	key(0, "indexer.member.b", "b", 11)
	key(0, "indexer.shard.3", "a", 12)
	if v.complete {
		t.Error("complete before all was named")
	}
	mark(seenComplete)
	if !v.complete {
		t.Error("not complete although all was named")
	}
	alive(5, "a", "b", "self")
	alive(6, "self")
	key(4, "indexer.member.a", "a", 13)
	alive(9, "a", "self")
	alive(10, "self")

	key(5, "indexer.shard.3", "a", 14)
	shard("renewed", 3, "a", 5)
	key(6, "indexer.shard.3", "b", 13)
	shard("old news", 3, "a", 5)
	key(6, "indexer.shard.3", "a", 14)
	shard("named again", 3, "a", 5)
	key(7, "indexer.shard.3", "", 15)
	shard("released", 3, "", 7)
	key(7, "indexer.shard.x", "b", 16)
	key(7, "indexer.other", "b", 17)

	v.restartClocks(at(20))
	alive(25, "a", "b", "self")
	key(25, "indexer.member.b", "", 18)
	alive(25, "a", "self")

	// A second watch: a was forgotten meanwhile, shard 3 is known already, and
	// shard 4 has a lower revision because the bucket is a new one.
	key(25, "indexer.shard.4", "a", 30)
	mark(seenBegin)
	key(30, "indexer.shard.3", "", 15)
	key(30, "indexer.shard.4", "b", 2)
	mark(seenComplete)
	alive(25, "self")
	shard("known", 3, "", 20)
	shard("of a new bucket", 4, "b", 30)
}

// Work that does not end although it was told to keeps its lease for a while,
// and then nobody else from the shard.
func TestLeaseOfWorkThatNeverEnds(t *testing.T) {
	r := leaseRun{cfg: LeaseConfig{TTL: time.Second, Log: slog.New(slog.DiscardHandler)}}
	ctx, cancel := context.WithCancel(t.Context())
	h := &hold{ctx: ctx}
	if r.overdue(0, h) {
		t.Error("overdue before it was told")
	}
	cancel()
	if r.overdue(0, h) {
		t.Error("overdue at once")
	}
	h.toldAt = h.toldAt.Add(-(drainTTLs - 1) * time.Second)
	if r.overdue(0, h) || h.lost {
		t.Error("overdue too early")
	}
	h.toldAt = h.toldAt.Add(-time.Second)
	if !r.overdue(0, h) || !h.lost {
		t.Error("never overdue")
	}
}
