package event

import (
	"fmt"
	"hash/fnv"
	"testing"
)

// Installations hold events by these shards: the same input gives the same
// shard for ever.
func TestShardOfIsStable(t *testing.T) {
	for _, c := range []struct {
		source, user string
		shards, want int
	}{
		{"demo", "u-1", 4, 3},
		{"demo", "u-2", 4, 2},
		{"demo", "u-3", 4, 1},
		{"demo", "u-1", 64, 19},
		{"shop", "u-1", 64, 4},
		{"", "", 1000, 995},
		{"demo", "مستخدم", 1000, 112},
		{"demo", "u-1", 1, 0},
	} {
		if got := ShardOf(c.source, []byte(c.user), c.shards); got != c.want {
			t.Errorf("%q %q of %d: got %d, want %d", c.source, c.user, c.shards, got, c.want)
		}
	}
}

func TestShardOfIsFNV(t *testing.T) {
	for i := range 1000 {
		source, user := fmt.Sprint("s", i%7), fmt.Sprint("user-", i)
		h := fnv.New64a()
		fmt.Fprintf(h, "%s\x00%s", source, user)
		sum := h.Sum64()
		if got, want := ShardOf(source, []byte(user), 97), int((sum^sum>>32)%97); got != want {
			t.Fatalf("%s %s: got %d, want %d", source, user, got, want)
		}
	}
}

// TestShardOfSpreads tries ids as they are given out, evenly and in steps.
func TestShardOfSpreads(t *testing.T) {
	const users = 40_000
	for name, id := range map[string]func(i int) string{
		"numbers":    func(i int) string { return fmt.Sprint(i) },
		"steps of 4": func(i int) string { return fmt.Sprint(4 * i) },
		"steps of 8": func(i int) string { return fmt.Sprintf("user-%08x", 8*i) },
		"uuids":      func(i int) string { return DerivedID(1, uint64(i), 0) },
		"addresses":  func(i int) string { return fmt.Sprintf("user%d@example.org", i) },
	} {
		for _, shards := range []int{2, 3, 4, 8, 16} {
			count := make([]int, shards)
			for i := range users {
				count[ShardOf("demo", []byte(id(i)), shards)]++
			}
			for shard, n := range count {
				if mean := users / shards; n < mean*9/10 || n > mean*11/10 {
					t.Errorf("%s: shard %d of %d has %d users of %d", name, shard, shards, n, users)
				}
			}
		}
	}
}
