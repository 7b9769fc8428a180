package localdb

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

// The handshake of ClickHouse's native protocol, as far as the guard reads or writes it. Numbers are varints, texts have
// a varint length before them:
//
//	client hello    0, name, major, minor, revision, database, user, password
//	server hello    0, name, major, minor, revision, ...      or an exception
//	addendum        from the client, by the smaller revision: quota key; two words on chunks; a version
//	exception       2, code (4 bytes, little-endian), name, text, stack, 0
const (
	// A word of a handshake is short; what claims to be longer is another protocol.
	maxHelloString = 64 << 10

	packetHello     = 0
	packetException = 2

	revisionQuotaKey         = 54458
	revisionChunked          = 54470
	revisionParallelReplicas = 54471

	codeAuthentication  = 516
	codeUnknownDatabase = 81
)

var errGreeting = errors.New("not a greeting of the native protocol")

// hello is what the guard needs of a client's first packet.
type hello struct {
	revision                 uint64
	database, user, password string
}

func readHello(r *recorder) (hello, error) {
	var h hello
	kind, err := binary.ReadUvarint(r)
	if err != nil {
		return h, err
	}
	if kind != packetHello {
		return h, errGreeting
	}
	if _, err := r.text(); err != nil { // the client's name
		return h, err
	}
	for _, into := range []*uint64{new(uint64), new(uint64), &h.revision} { // major, minor, revision
		if *into, err = binary.ReadUvarint(r); err != nil {
			return h, err
		}
	}
	for _, into := range []*string{&h.database, &h.user, &h.password} {
		if *into, err = r.text(); err != nil {
			return h, err
		}
	}
	return h, nil
}

// readServerHello reads up to the revision. isHello is false when the engine answers something else.
func readServerHello(r *recorder) (revision uint64, isHello bool, err error) {
	kind, err := binary.ReadUvarint(r)
	if err != nil || kind != packetHello {
		return 0, false, err
	}
	if _, err := r.text(); err != nil {
		return 0, false, err
	}
	for range 3 { // major, minor, revision
		if revision, err = binary.ReadUvarint(r); err != nil {
			return 0, false, err
		}
	}
	return revision, true, nil
}

func readAddendum(r *recorder, revision uint64) error {
	texts := 0
	if revision >= revisionQuotaKey {
		texts++
	}
	if revision >= revisionChunked {
		texts += 2
	}
	for range texts {
		if _, err := r.text(); err != nil {
			return err
		}
	}
	if revision >= revisionParallelReplicas {
		if _, err := binary.ReadUvarint(r); err != nil {
			return err
		}
	}
	return nil
}

// addendum is what a client without wishes says.
func addendum(revision uint64) []byte {
	var b []byte
	if revision >= revisionQuotaKey {
		b = appendText(b, "")
	}
	if revision >= revisionChunked {
		b = appendText(appendText(b, "notchunked"), "notchunked")
	}
	if revision >= revisionParallelReplicas {
		b = append(b, 0)
	}
	return b
}

func exceptionPacket(code uint32, text string) []byte {
	b := binary.LittleEndian.AppendUint32([]byte{packetException}, code)
	b = appendText(appendText(appendText(b, "DB::Exception"), "DB::Exception: "+text), "")
	return append(b, 0) // nothing nested
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// recorder keeps the bytes that were read through it.
type recorder struct {
	r     *bufio.Reader
	taken []byte
}

// ReadByte makes it an io.ByteReader for binary.ReadUvarint.
func (r *recorder) ReadByte() (byte, error) {
	b, err := r.r.ReadByte()
	if err == nil {
		r.taken = append(r.taken, b)
	}
	return b, err
}

func (r *recorder) text() (string, error) {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return "", err
	}
	if n > maxHelloString {
		return "", errGreeting
	}
	at := len(r.taken)
	r.taken = append(r.taken, make([]byte, n)...)
	_, err = io.ReadFull(r.r, r.taken[at:])
	return string(r.taken[at:]), err
}
