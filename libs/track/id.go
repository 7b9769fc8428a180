package track

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// newID returns a UUIDv7 (RFC 9562). Its randomness is the kernel's: two copies
// of a frozen virtual machine must not give the same ids, or events of one would
// be taken for repeats of the other's.
func newID(now time.Time) string {
	var u [16]byte
	_, _ = rand.Read(u[:]) // never fails, it ends the process before
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(now.UnixMilli()))
	copy(u[:6], ms[2:])
	u[6] = u[6]&0x0F | 0x70 // version 7
	u[8] = u[8]&0x3F | 0x80 // variant of RFC 9562
	var text [36]byte
	hex.Encode(text[0:8], u[0:4])
	hex.Encode(text[9:13], u[4:6])
	hex.Encode(text[14:18], u[6:8])
	hex.Encode(text[19:23], u[8:10])
	hex.Encode(text[24:36], u[10:16])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}
