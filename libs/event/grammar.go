package event

import (
	"math"
	"unicode/utf8"
)

// walker checks JSON values against the grammar of RFC 8259 without
// interpreting them. It is the one place that knows the grammar: the Scanner
// uses it with the limits of an event, the Splitter without any, because a
// fault that concerns one event must not make its neighbours unreadable.
type walker struct {
	maxDepth int
	maxKeys  int
	maxKey   int
	strict   bool // check UTF-8 and surrogate pairs

	keys  int      // keys seen since reset
	stack []uint64 // one bit for each open container: 1 is an object
	fault fault    // set when a method returned -1
}

// fault is where and why reading stopped.
type fault struct {
	reason Reason
	offset int
	msg    string
}

func newWalker(l Limits) walker {
	return walker{maxDepth: l.MaxDepth, maxKeys: l.MaxKeys, maxKey: l.MaxKey, strict: true}
}

func newFreeWalker() walker {
	return walker{maxDepth: math.MaxInt, maxKeys: math.MaxInt, maxKey: math.MaxInt}
}

func (w *walker) fail(reason Reason, offset int, msg string) int {
	w.fault = fault{reason, offset, msg}
	return -1
}

// unexpected is a fault of the grammar at data[i], or at the end of data.
func (w *walker) unexpected(data []byte, i int, want string) int {
	if i >= len(data) {
		return w.fail(ReasonMalformed, len(data), "it ends where "+want+" is expected")
	}
	return w.fail(ReasonMalformed, i, want+" is expected")
}

// skipSpace returns the first index from i on that is not JSON white space.
func skipSpace(data []byte, i int) int {
	for i < len(data) {
		switch data[i] {
		case ' ', '\t', '\n', '\r':
			i++
		default:
			return i
		}
	}
	return i
}

// value checks the value that starts at data[i] (white space skipped) and
// returns the index after it, or -1. depth is how many containers are open
// around it. It keeps its own stack of bits, so that nesting costs one bit a
// level and never the goroutine's stack.
func (w *walker) value(data []byte, i, depth int) int {
	level := 0      // containers opened here and not yet closed
	object := false // the innermost of them is an object
	for {
		if i >= len(data) {
			return w.unexpected(data, i, "a value")
		}
		switch c := data[i]; c {
		case '"':
			if i = w.stringEnd(data, i+1); i < 0 {
				return -1
			}
		case '{', '[':
			if depth+level >= w.maxDepth {
				return w.fail(ReasonTooDeep, i, "nested deeper than the limit")
			}
			w.push(level, object)
			level++
			object = c == '{'
			i = skipSpace(data, i+1)
			// '}' and ']' are their openers plus two in ASCII.
			if i < len(data) && data[i] == c+2 {
				i++
				level--
				object = w.pop(level)
				break
			}
			if object {
				if i = w.member(data, i); i < 0 {
					return -1
				}
			}
			continue
		case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
			n := numberEnd(data, i)
			if n.end < 0 {
				return w.fail(ReasonMalformed, ^n.end, "a digit is expected")
			}
			i = n.end
		case 't', 'f', 'n':
			end := literalEnd(data, i)
			if end < 0 {
				return w.unexpected(data, i, "a value")
			}
			i = end
		default:
			return w.unexpected(data, i, "a value")
		}
		// A value ended at i: close what ends with it, or go to its sibling.
		for {
			if level == 0 {
				return i
			}
			i = skipSpace(data, i)
			if i >= len(data) {
				return w.unexpected(data, i, "',' or a closing bracket")
			}
			c := data[i]
			if c == ',' {
				i = skipSpace(data, i+1)
				if object {
					if i = w.member(data, i); i < 0 {
						return -1
					}
				}
				break
			}
			if (object && c != '}') || (!object && c != ']') {
				return w.unexpected(data, i, "',' or a closing bracket")
			}
			i++
			level--
			object = w.pop(level)
		}
	}
}

// push remembers that the container around the new one is an object.
func (w *walker) push(level int, object bool) {
	word, bit := level>>6, uint64(1)<<(level&63)
	if word == len(w.stack) {
		w.stack = append(w.stack, 0)
	}
	if object {
		w.stack[word] |= bit
	} else {
		w.stack[word] &^= bit
	}
}

func (w *walker) pop(level int) bool {
	return w.stack[level>>6]&(1<<(level&63)) != 0
}

// member checks `"key" :` at data[i] and returns the index of the value.
func (w *walker) member(data []byte, i int) int {
	if i >= len(data) || data[i] != '"' {
		return w.unexpected(data, i, "a key")
	}
	end := w.stringEnd(data, i+1)
	if end < 0 {
		return -1
	}
	if !w.countKey(i, end-i-2) {
		return -1
	}
	return w.colon(data, end)
}

// colon skips `:` with the white space around it.
func (w *walker) colon(data []byte, i int) int {
	i = skipSpace(data, i)
	if i >= len(data) || data[i] != ':' {
		return w.unexpected(data, i, "':'")
	}
	return skipSpace(data, i+1)
}

// countKey counts one key of size bytes at offset against the limits.
func (w *walker) countKey(offset, size int) bool {
	w.keys++
	if w.keys > w.maxKeys {
		w.fail(ReasonTooManyKeys, offset, "more keys than the limit")
		return false
	}
	if size > w.maxKey {
		w.fail(ReasonKeyTooLong, offset, "key longer than the limit")
		return false
	}
	return true
}

// stringEnd checks the string whose first byte after the quote is data[i] and
// returns the index after its closing quote, or -1.
func (w *walker) stringEnd(data []byte, i int) int {
	end, flags := stringEnd(data, i)
	if flags != 0 && !w.stringOK(data, i, end, flags) {
		return -1
	}
	return end + 1
}

// stringOK judges what stringEnd noted; the plain ASCII string without
// escapes, which is nearly every one, never gets here.
func (w *walker) stringOK(data []byte, i, end int, flags stringFlags) bool {
	if flags&stringBroken != 0 {
		if end >= len(data) {
			w.fail(ReasonMalformed, len(data), "it ends inside a string")
		} else if data[end] < ' ' {
			w.fail(ReasonMalformed, end, "a control character in a string")
		} else {
			w.fail(ReasonMalformed, end, "a broken escape in a string")
		}
		return false
	}
	if !w.strict {
		return true
	}
	if flags&stringLone != 0 {
		w.fail(ReasonInvalidUTF8, i-1, "half a surrogate pair in a string")
		return false
	}
	if flags&stringHigh != 0 && !utf8.Valid(data[i:end]) {
		w.fail(ReasonInvalidUTF8, i-1, "a string that is not UTF-8")
		return false
	}
	return true
}

// literalEnd returns the index after the true, false or null at data[i], or -1.
func literalEnd(data []byte, i int) int {
	want := "true"
	switch data[i] {
	case 'f':
		want = "false"
	case 'n':
		want = "null"
	}
	if len(data)-i < len(want) || string(data[i:i+len(want)]) != want {
		return -1
	}
	return i + len(want)
}
