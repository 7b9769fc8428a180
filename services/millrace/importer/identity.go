package importer

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// identities names lines. It remembers eight bytes of every distinct line's
// hash and how often it was seen: some 20 bytes of memory for each. Two lines
// whose eight bytes agree by chance count each other's occurrences and still
// get different ids, for the id is made of the whole line.
type identities struct {
	seen map[uint64]uint32
}

func newIdentities() *identities { return &identities{seen: map[uint64]uint32{}} }

// next is the id of the next occurrence of the line: 32 hexadecimal digits.
func (n *identities) next(line []byte) string {
	sum := sha256.Sum256(line)
	key := binary.LittleEndian.Uint64(sum[:])
	ordinal := n.seen[key]
	n.seen[key] = ordinal + 1

	var named [sha256.Size + 4]byte
	copy(named[:], sum[:])
	binary.BigEndian.PutUint32(named[sha256.Size:], ordinal)
	id := sha256.Sum256(named[:])
	return hex.EncodeToString(id[:16])
}
