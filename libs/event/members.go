package event

import "math/bits"

// Cursor reads one JSON value from left to right, in one pass, and hands out
// its parts as the bytes that were sent: for code that takes bodies apart and
// puts events together without interpreting what it does not know. It has the
// grammar of the [Scanner] but no limits, and no input makes it panic or
// recurse.
//
//	c.Reset(body)
//	for c.Enter(); c.Next(); {
//		if string(c.Key()) == "batch" && c.Kind() == KindArray {
//			for c.Enter(); c.Next(); {
//				raw := c.Value()
//			}
//		}
//	}
//	err := c.End()
//
// What is not read is skipped and checked on the way. After a fault every
// method returns nothing and End says what it was; so code in between need not
// look. A Cursor keeps its buffers between values and is not safe for
// concurrent use; the zero Cursor is ready for use.
type Cursor struct {
	walker walker
	data   []byte
	i      int // the next byte to read
	err    *SyntaxError

	open    uint64 // a bit for each entered container, the innermost lowest: 1 is an object; topped by a 1
	fresh   bool   // nothing of the innermost container is read yet
	pending bool   // the value at i is not read yet
	blank   bool   // there is no value at all

	start int    // where the member or element at hand begins
	raw   []byte // its key as written between the quotes
	key   []byte // its key
	text  []byte // of an escaped key
}

// maxEntered bounds Enter; it is code that enters, not data.
const maxEntered = 62

// Reset begins with the value that data holds. A byte order mark and white
// space at its start are skipped.
func (c *Cursor) Reset(data []byte) {
	c.walker.maxDepth, c.walker.maxKeys, c.walker.maxKey = maxInt, maxInt, maxInt
	_, c.i = begin(data)
	c.data, c.err, c.open, c.fresh, c.pending = data, nil, 1, false, true
	c.start, c.raw, c.key = c.i, nil, nil
	c.blank = c.i == len(data)
}

const maxInt = int(^uint(0) >> 1)

// Kind is the JSON type of the value at the cursor, by its first byte. It is
// KindNull where no value is to be read.
func (c *Cursor) Kind() Kind {
	if !c.pending || c.i >= len(c.data) {
		return KindNull
	}
	return KindOf(c.data[c.i:])
}

// Value reads the value at the cursor and returns its bytes, without white
// space around it; nil if there is none or after a fault.
func (c *Cursor) Value() []byte {
	if !c.pending {
		return nil
	}
	start := c.i
	end := c.walker.value(c.data, start, 0)
	if c.failed(end) {
		return nil
	}
	c.i, c.pending = end, false
	return c.data[start:end:end]
}

// Enter steps into the object or array at the cursor: [Cursor.Next] then goes
// from one of its members or elements to the next. Of any other value it is a
// fault.
func (c *Cursor) Enter() {
	if !c.pending {
		return
	}
	if c.i >= len(c.data) || (c.data[c.i] != '{' && c.data[c.i] != '[') {
		c.failed(c.walker.unexpected(c.data, c.i, "an object or array"))
		return
	}
	if bits.Len64(c.open) > maxEntered {
		c.failed(c.walker.fail(ReasonTooDeep, c.i, "nested deeper than can be entered"))
		return
	}
	c.open <<= 1
	if c.data[c.i] == '{' {
		c.open |= 1
	}
	c.i, c.fresh, c.pending = c.i+1, true, false
}

// Next goes to the next member or element of the container that was entered
// last and reports whether there is one. If not, the cursor is behind the
// container, and Next goes on in the one around it.
func (c *Cursor) Next() bool {
	if c.pending {
		c.Value()
	}
	if c.err != nil || c.open == 1 {
		return false
	}
	i := skipSpace(c.data, c.i)
	object := c.open&1 != 0
	if i < len(c.data) && (c.data[i] == '}' && object || c.data[i] == ']' && !object) {
		c.i, c.open, c.fresh = i+1, c.open>>1, false
		return false
	}
	if !c.fresh {
		if i >= len(c.data) || c.data[i] != ',' {
			return !c.failed(c.walker.unexpected(c.data, i, "',' or a closing bracket"))
		}
		i = skipSpace(c.data, i+1)
	}
	c.start, c.fresh = i, false
	if object {
		if i = c.member(i); c.failed(i) {
			return false
		}
	}
	c.i, c.pending = i, true
	return true
}

// member reads `"key" :` at data[i] and returns the index of the value.
func (c *Cursor) member(i int) int {
	w := &c.walker
	if i >= len(c.data) || c.data[i] != '"' {
		return w.unexpected(c.data, i, "a key")
	}
	end, flags := stringEnd(c.data, i+1)
	if flags != 0 && !w.stringOK(c.data, i+1, end, flags) {
		return -1
	}
	c.raw = c.data[i+1 : end : end]
	c.key = c.raw
	if flags&stringEscaped != 0 {
		c.text = unescape(c.text[:0], c.raw)
		c.key = c.text
	}
	return w.colon(c.data, end+1)
}

// Key is the key of the member at hand, unescaped. It is valid until Next.
func (c *Cursor) Key() []byte { return c.key }

// RawKey is the key as it was sent between its quotes.
func (c *Cursor) RawKey() []byte { return c.raw }

// Start is where the member or element at hand begins: its key's quote, or its
// first byte.
func (c *Cursor) Start() int { return c.start }

// Offset is where the cursor is: at a value that is to be read, or behind what
// was read last.
func (c *Cursor) Offset() int { return c.i }

// Member is the member at hand as it was sent, `"key": value`. It reads the
// value, unless Value was the last thing that was called.
func (c *Cursor) Member() []byte {
	if c.pending {
		c.Value()
	}
	if c.err != nil {
		return nil
	}
	return c.data[c.start:c.i:c.i]
}

// Fail makes a fault of what the value at the cursor, or the member it belongs
// to, means: a batch that is no array. msg never quotes the data.
func (c *Cursor) Fail(msg string) {
	if c.err == nil {
		c.failed(c.walker.fail(ReasonBadField, c.start, msg))
	}
}

// End reads what is left, and returns the first fault as a *SyntaxError or nil.
func (c *Cursor) End() error {
	for c.err == nil && (c.pending || c.open != 1) {
		c.Next()
	}
	if c.err == nil {
		if i := skipSpace(c.data, c.i); i < len(c.data) {
			c.failed(c.walker.unexpected(c.data, i, "the end"))
		}
	}
	if c.err != nil {
		return c.err
	}
	return nil
}

// failed keeps the fault of the walker if i says that there is one.
func (c *Cursor) failed(i int) bool {
	if i >= 0 {
		return false
	}
	if c.blank {
		c.walker.fault.msg = "an empty body"
	}
	c.err, c.pending = syntaxError(c.data, c.walker.fault), false
	return true
}

// KindOf is the JSON type of a value, by its first byte.
func KindOf(raw []byte) Kind {
	if len(raw) == 0 {
		return KindNull
	}
	switch raw[0] {
	case '{':
		return KindObject
	case '[':
		return KindArray
	case '"':
		return KindString
	case 't', 'f':
		return KindBool
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return KindNumber
	}
	return KindNull
}

// Unquote returns the text of a JSON string as a Cursor hands it out; ok is
// false for any other value. It allocates only if there are escapes. An escaped
// half of a surrogate pair becomes U+FFFD.
func Unquote(raw []byte) (text []byte, ok bool) {
	if len(raw) < 2 || raw[0] != '"' || raw[len(raw)-1] != '"' {
		return nil, false
	}
	end, flags := stringEnd(raw, 1)
	switch {
	case flags&stringBroken != 0 || end != len(raw)-1:
		return nil, false
	case flags&stringEscaped != 0:
		return unescape(make([]byte, 0, end), raw[1:end]), true
	}
	return raw[1:end:end], true
}

// AppendMember appends a member to the object that dst ends with and that is
// still open: `{` or `{"a":1`. key is text, raw a JSON value.
func AppendMember(dst []byte, key string, raw []byte) []byte {
	dst = AppendString(AppendComma(dst), key)
	dst = append(dst, ':')
	return append(dst, raw...)
}

// AppendComma appends the comma that the next member or element needs, if the
// container that dst ends with has one already.
func AppendComma(dst []byte) []byte {
	if n := len(dst); n > 0 && dst[n-1] != '{' && dst[n-1] != '[' {
		dst = append(dst, ',')
	}
	return dst
}

// AppendString appends text as a JSON string. Bytes that are not UTF-8 stay as
// they are: the Scanner refuses the event for them.
func AppendString[T string | []byte](dst []byte, text T) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	plain := 0 // what is not yet appended begins here
	for i := range len(text) {
		c := text[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, text[plain:i]...)
		plain = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\f':
			dst = append(dst, '\\', 'f')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	dst = append(dst, text[plain:]...)
	return append(dst, '"')
}

// IsField reports whether a top-level key of an event has a meaning of its own,
// in the Segment Spec's spelling or the plain one; any other is kept as extra.
func IsField(key []byte) bool { return fieldOf(key) != fieldExtra }
