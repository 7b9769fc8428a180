package enricher

// key is the keyed 128-bit hash of (source, message id).
type key struct{ hi, lo uint64 }

const (
	chunkBits = 12
	chunkKeys = 1 << chunkBits // 64 KiB a chunk
	chunkMask = chunkKeys - 1
	keyBytes  = 16
)

type chunk [chunkKeys]key

// ring is the queue of all ids of the window, one entry an occurrence, in the
// order of the log. An entry is found by the low 32 bits of its position, so
// the ring must hold fewer than 2^31 entries. Chunks that empty are used again.
type ring struct {
	chunks []*chunk // by chunk number modulo len, a power of two
	head   uint64   // position of the oldest entry
	tail   uint64   // position of the next one
	spare  *chunk
}

func (r *ring) len() int { return int(r.tail - r.head) }

func (r *ring) at(pos uint32) key {
	return r.chunks[int(pos>>chunkBits)&(len(r.chunks)-1)][pos&chunkMask]
}

func (r *ring) push(k key) (pos uint32) {
	n := r.tail >> chunkBits
	if r.tail&chunkMask == 0 || r.tail == r.head {
		r.claim(n)
	}
	r.chunks[int(n)&(len(r.chunks)-1)][r.tail&chunkMask] = k
	pos = uint32(r.tail)
	r.tail++
	return pos
}

// claim makes room for chunk n.
func (r *ring) claim(n uint64) {
	first := r.head >> chunkBits
	if used := n - first + 1; used > uint64(len(r.chunks)) {
		grown := make([]*chunk, max(4, 2*len(r.chunks)))
		for i := first; i < n; i++ {
			grown[int(i)&(len(grown)-1)] = r.chunks[int(i)&(len(r.chunks)-1)]
		}
		r.chunks = grown
	}
	slot := &r.chunks[int(n)&(len(r.chunks)-1)]
	switch {
	case *slot != nil: // the ring was empty in the middle of a chunk
	case r.spare != nil:
		*slot, r.spare = r.spare, nil
	default:
		*slot = new(chunk)
	}
}

// pop forgets the oldest entry and returns it.
func (r *ring) pop() (key, uint32) {
	pos := uint32(r.head)
	k := r.at(pos)
	r.head++
	if r.head&chunkMask == 0 {
		slot := &r.chunks[int((r.head-1)>>chunkBits)&(len(r.chunks)-1)]
		r.spare, *slot = *slot, nil
	}
	return k, pos
}
