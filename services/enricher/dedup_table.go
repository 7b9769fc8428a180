package enricher

// slotBytes is the size of a slot of the table.
const slotBytes = 8

// The table is kept at most 3/5 full: linear probing then looks at two slots
// on average for an id that is there and at four for one that is not.
const loadNum, loadDen = 3, 5

// table finds the newest occurrence of a key in the ring: open addressing over
// slots of a tag and a position, 32 bits each. The tag is the upper half of
// the hash; it alone decides the slot an entry would like, so that entries can
// be moved without looking at the ring. Whether an entry is the key is decided
// by all 128 bits in the ring.
type table struct {
	slots []uint64 // 0 is empty: tags are odd
	used  int
}

func tagOf(k key) uint32 { return uint32(k.hi>>32) | 1 }

func (t *table) home(tag uint32) int {
	return int(uint64(tag) * uint64(len(t.slots)) >> 32)
}

func (t *table) next(i int) int {
	if i++; i < len(t.slots) {
		return i
	}
	return 0
}

// put makes pos the newest occurrence of k and says whether there was one.
func (t *table) put(r *ring, k key, pos uint32) (known bool) {
	tag := tagOf(k)
	i := t.home(tag)
	for ; t.slots[i] != 0; i = t.next(i) {
		if s := t.slots[i]; uint32(s>>32) == tag && r.at(uint32(s)) == k {
			known = true
			break
		}
	}
	t.slots[i] = uint64(tag)<<32 | uint64(pos)
	if !known {
		t.used++
	}
	return known
}

// drop removes k if its newest occurrence is the one at pos.
func (t *table) drop(k key, pos uint32) {
	tag := tagOf(k)
	want := uint64(tag)<<32 | uint64(pos)
	i := t.home(tag)
	for ; t.slots[i] != want; i = t.next(i) {
		if t.slots[i] == 0 {
			return // a newer occurrence took the slot over
		}
	}
	// Close the gap: an entry may move into it unless it would then lie before
	// the slot it would like.
	for j := t.next(i); t.slots[j] != 0; j = t.next(j) {
		if !between(i, t.home(uint32(t.slots[j]>>32)), j) {
			t.slots[i] = t.slots[j]
			i = j
		}
	}
	t.slots[i] = 0
	t.used--
}

// between says whether h lies in (i, j], going round.
func between(i, h, j int) bool {
	if i <= j {
		return i < h && h <= j
	}
	return i < h || h <= j
}

// reserve makes room for one more key. A larger table is filled from the ring,
// after the old one was let go: both never exist at once.
func (t *table) reserve(r *ring, most int) {
	if (t.used+1)*loadDen <= len(t.slots)*loadNum {
		return
	}
	want := len(t.slots) + len(t.slots)/2
	want = max(min(want, most*loadDen/loadNum+2), (t.used+2)*loadDen/loadNum+2, 1024)
	t.slots, t.used = nil, 0
	t.slots = make([]uint64, want)
	for p := r.head; p != r.tail; p++ {
		t.put(r, r.at(uint32(p)), uint32(p))
	}
}
