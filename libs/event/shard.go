package event

// FNV-1a, 64 bits: http://www.isthe.com/chongo/tech/comp/fnv/.
const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

// ShardOf returns the shard, from 0 to shards-1, of a user's events: FNV-1a 64
// over the source, a zero byte and the user ([Event.User]), its upper half
// folded into its lower, modulo shards.
//
// This can never change: repeats are found and order is kept within a shard
// only, so an installation whose events moved would lose both.
//
// The fold is needed because the lowest bits of FNV-1a depend on nothing but
// the lowest bits of its input, and shards are often a power of two.
func ShardOf(source string, user []byte, shards int) int {
	h := uint64(fnvOffset)
	for i := range len(source) {
		h = (h ^ uint64(source[i])) * fnvPrime
	}
	h *= fnvPrime // the zero byte
	for _, c := range user {
		h = (h ^ uint64(c)) * fnvPrime
	}
	return int((h ^ h>>32) % uint64(shards))
}
