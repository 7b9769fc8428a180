package event

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"github.com/google/uuid"
)

// idLen is the length of an id's text, a UUID with hyphens.
const idLen = 36

// NewID returns a new random id, a UUIDv7 (RFC 9562): ids given later sort
// later. It is for events from HTTP without a message id; a repeated request
// is then a new event.
func NewID() string {
	return string(AppendNewID(nil))
}

// AppendNewID appends what NewID returns to dst.
func AppendNewID(dst []byte) []byte {
	// The one error is that of the system's randomness, and crypto/rand ends
	// the process before it would report it.
	return appendUUID(dst, uuid.Must(uuid.NewV7()))
}

// DerivedID returns the id of the event at index in the message with sequence
// seq of the NATS door's stream, in one incarnation of it. It is the same
// whenever the message is delivered, so that a redelivery is a repeat.
func DerivedID(incarnation, seq uint64, index int) string {
	return string(AppendDerivedID(nil, incarnation, seq, index))
}

// AppendDerivedID appends what DerivedID returns to dst.
func AppendDerivedID(dst []byte, incarnation, seq uint64, index int) []byte {
	b := make([]byte, 0, 64)
	b = append(b, "millrace derived id\x00"...)
	b = binary.BigEndian.AppendUint64(b, incarnation)
	b = binary.BigEndian.AppendUint64(b, seq)
	b = binary.BigEndian.AppendUint64(b, uint64(index))
	return appendHashed(dst, b)
}

// KeyedID returns the id of the event at index in a request that carried an
// idempotency key, so that the repeated request is a repeat. The same key of
// another source gives other ids.
func KeyedID(source, key string, index int) string {
	return string(AppendKeyedID(nil, source, key, index))
}

// AppendKeyedID appends what KeyedID returns to dst.
func AppendKeyedID(dst []byte, source, key string, index int) []byte {
	b := make([]byte, 0, 256)
	b = append(b, "millrace keyed id\x00"...)
	b = binary.BigEndian.AppendUint64(b, uint64(len(source)))
	b = append(b, source...)
	b = append(b, key...)
	b = binary.BigEndian.AppendUint64(b, uint64(index))
	return appendHashed(dst, b)
}

// appendHashed appends a UUIDv8 (RFC 9562, section 5.8) made of the SHA-256 of
// what identifies the event. 122 bits of it make a collision unthinkable, also
// for whoever looks for one.
func appendHashed(dst, identity []byte) []byte {
	sum := sha256.Sum256(identity)
	u := [16]byte(sum[:16])
	u[6] = u[6]&0x0F | 0x80 // version 8
	u[8] = u[8]&0x3F | 0x80 // variant of RFC 9562
	return appendUUID(dst, u)
}

func appendUUID(dst []byte, u [16]byte) []byte {
	var text [idLen]byte
	hex.Encode(text[0:8], u[0:4])
	hex.Encode(text[9:13], u[4:6])
	hex.Encode(text[14:18], u[6:8])
	hex.Encode(text[19:23], u[8:10])
	hex.Encode(text[24:36], u[10:16])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return append(dst, text[:]...)
}
