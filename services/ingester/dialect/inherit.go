package dialect

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/millrace/millrace/libs/event"
)

// part is one member of an object, as it was sent.
type part struct {
	key    []byte // unescaped
	value  []byte
	member []byte // both, with all between them
}

// partOf reads the member at which c is. Unescaped keys are parts of the body
// and stay valid.
func partOf(c *event.Cursor) part {
	p := part{key: c.Key()}
	if len(p.key) != len(c.RawKey()) { // the cursor's own memory
		p.key = bytes.Clone(p.key)
	}
	p.member = c.Member()
	if n := len(p.member); n > 0 {
		// The value ends the member; it begins behind the key, a colon and space.
		p.value = bytes.TrimLeft(p.member[len(c.RawKey())+2:], ": \t\r\n")
	}
	return p
}

// fewParts is up to how many keys are compared one by one.
const fewParts = 12

// inherited is what a batch says once for all of its events: an event gets
// what it does not say itself.
type inherited struct {
	parts []part
	seen  []bool // of the event at hand
	index map[string]int
	size  int // bytes of all members
}

func (in *inherited) reset() {
	clear(in.parts)
	in.parts, in.index, in.size = in.parts[:0], nil, 0
}

func (in *inherited) add(p part) {
	in.parts = append(in.parts, p)
	in.size += len(p.member) + 1
}

// begin forgets the event before.
func (in *inherited) begin() {
	if len(in.parts) > fewParts && in.index == nil {
		in.index = make(map[string]int, len(in.parts))
		for i := range in.parts {
			in.index[string(in.parts[i].key)] = i
		}
	}
	in.seen = slices.Grow(in.seen[:0], len(in.parts))[:len(in.parts)]
	clear(in.seen)
}

// own notes a key that the event has itself.
func (in *inherited) own(key []byte) {
	if in.index != nil {
		if i, ok := in.index[string(key)]; ok {
			in.seen[i] = true
		}
		return
	}
	for i := range in.parts {
		if bytes.Equal(in.parts[i].key, key) {
			in.seen[i] = true
		}
	}
}

// appendRest appends what the event does not have itself to its open object.
func (in *inherited) appendRest(dst []byte) []byte {
	for i := range in.parts {
		if !in.seen[i] {
			dst = append(event.AppendComma(dst), in.parts[i].member...)
		}
	}
	return dst
}

// appendUnder appends the object own with what it does not have itself.
func (in *inherited) appendUnder(dst, own []byte, c *event.Cursor) []byte {
	in.begin()
	c.Reset(own)
	for c.Enter(); c.Next(); {
		in.own(c.Key())
	}
	dst = append(dst, bytes.TrimRight(own[:len(own)-1], " \t\r\n")...)
	return append(in.appendRest(dst), '}')
}

// added is how many bytes the object raw gets of in, because it does not have them
// itself.
func (in *inherited) added(raw []byte, c *event.Cursor) (size int) {
	in.begin()
	c.Reset(raw)
	for c.Enter(); c.Next(); {
		in.own(c.Key())
	}
	for i := range in.parts {
		if !in.seen[i] {
			size += len(in.parts[i].member) + 1
		}
	}
	return size
}

// tooMuch refuses what no event can carry, before it is tried with each.
func tooMuch(limits event.Limits, all ...*inherited) *event.Refusal {
	keys, size := 0, 0
	for _, in := range all {
		keys += len(in.parts)
		size += in.size
	}
	switch {
	case keys > limits.MaxKeys:
		return &event.Refusal{
			Reason: event.ReasonTooManyKeys,
			Detail: fmt.Sprintf("the batch adds %d keys to each event, the limit is %d", keys, limits.MaxKeys),
		}
	case size > limits.MaxEvent:
		return &event.Refusal{
			Reason: event.ReasonTooLarge,
			Detail: fmt.Sprintf("the batch adds %d bytes to each event, the limit is %d", size, limits.MaxEvent),
		}
	}
	return nil
}
