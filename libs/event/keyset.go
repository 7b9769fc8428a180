package event

import (
	"bytes"
	"hash/maphash"
)

// smallSet is up to how many keys are compared one by one; a handful of length
// comparisons is cheaper than one hash.
const smallSet = 12

// keySet tells whether a key occurred before in an object. The seed is the
// Scanner's own and random, so that no client can choose keys that collide.
type keySet struct {
	seed  maphash.Seed
	slots []keySlot // a power of two, at least twice the keys; nil until needed
	life  uint32    // slots of other lives are free: clearing costs nothing
	max   int
}

type keySlot struct {
	life  uint32
	index uint32 // of the field
}

func newKeySet(seed maphash.Seed, maxKeys int) keySet {
	return keySet{seed: seed, max: maxKeys}
}

// has reports whether key is among fields, the keys of this object so far.
// Called once before each field of an object is appended.
func (k *keySet) has(fields []Field, key []byte) bool {
	if len(fields) < smallSet {
		for i := range fields {
			if bytes.Equal(fields[i].Key, key) {
				return true
			}
		}
		return false
	}
	if len(fields) == smallSet {
		k.begin()
		for i := range fields {
			k.add(fields, uint32(i), fields[i].Key)
		}
	}
	return k.add(fields, uint32(len(fields)), key)
}

func (k *keySet) begin() {
	if k.slots == nil {
		n := 4 * smallSet
		for n < 2*k.max+2 || n&(n-1) != 0 {
			n += n & -n
		}
		k.slots = make([]keySlot, n)
	}
	k.life++
	if k.life == 0 {
		clear(k.slots)
		k.life = 1
	}
}

// add reports whether key is there already and otherwise adds it as index.
func (k *keySet) add(fields []Field, index uint32, key []byte) bool {
	mask := uint64(len(k.slots) - 1)
	for h := maphash.Bytes(k.seed, key); ; h++ {
		slot := &k.slots[h&mask]
		if slot.life != k.life {
			*slot = keySlot{k.life, index}
			return false
		}
		if bytes.Equal(fields[slot.index].Key, key) {
			return true
		}
	}
}
