package event

// level is which of the interpreted objects is being read.
type level uint8

const (
	levelMap     level = iota // properties, traits
	levelContext              // context
	levelBelow                // context.page, context.campaign
)

// depth counts the containers that are open inside an object of the level.
func (l level) depth() int {
	if l == levelBelow {
		return 3
	}
	return 2
}

// objectField reads properties, traits or context at data[i] into dst.
func (s *Scanner) objectField(data []byte, i int, e *Event, dst []Field, l level, wrong string) ([]Field, int) {
	if i < len(data) && data[i] == '{' {
		return s.object(data, i, e, dst, l)
	}
	at := i
	if i = s.walker.value(data, i, 1); i > 0 && data[at] != 'n' {
		i = s.walker.fail(ReasonBadField, at, wrong)
	}
	return dst, i
}

// object appends the fields of the object that starts at data[i] to dst and
// returns the index after it. It calls itself once, for what lies in context.
func (s *Scanner) object(data []byte, i int, e *Event, dst []Field, l level) ([]Field, int) {
	keys := &s.midKeys
	if l == levelBelow {
		keys = &s.lowKeys
	}
	i = skipSpace(data, i+1)
	if i < len(data) && data[i] == '}' {
		return dst, i + 1
	}
	for {
		at := i
		var key []byte
		if key, i = s.key(data, i, e); i < 0 {
			return dst, -1
		}
		if keys.has(dst, key) {
			return dst, s.walker.fail(ReasonDuplicateKey, at, "a key that occurred before")
		}
		dst = grow(dst)
		f := &dst[len(dst)-1]
		f.Key = key
		if l == levelContext && i < len(data) && data[i] == '{' {
			i = s.inContext(data, i, e, f)
		} else {
			i = s.value(data, i, l.depth(), e, f)
		}
		if i < 0 {
			return dst, -1
		}
		i = skipSpace(data, i)
		if i >= len(data) || data[i] != ',' {
			break
		}
		i = skipSpace(data, i+1)
	}
	if i >= len(data) || data[i] != '}' {
		return dst, s.walker.unexpected(data, i, "',' or '}'")
	}
	return dst, i + 1
}

// inContext reads an object that lies in context: f keeps it as text like any
// other, and those with columns of their own are taken apart on the way.
func (s *Scanner) inContext(data []byte, i int, e *Event, f *Field) int {
	start := i
	switch string(f.Key) {
	case "page":
		s.page, i = s.object(data, i, e, s.page, levelBelow)
	case "campaign":
		s.campaign, i = s.object(data, i, e, s.campaign, levelBelow)
	default:
		return s.value(data, i, levelContext.depth(), e, f)
	}
	if i > 0 {
		f.Value, f.Kind, f.Num, f.IsNum = data[start:i], KindObject, 0, false
	}
	return i
}

// grow returns fields with one more, whose content is whatever was there.
func grow(fields []Field) []Field {
	if len(fields) < cap(fields) {
		return fields[:len(fields)+1]
	}
	return append(fields, Field{})
}

// key reads `"key" :` at data[i] and returns the key's text and the index of
// the value.
func (s *Scanner) key(data []byte, i int, e *Event) ([]byte, int) {
	if i >= len(data) || data[i] != '"' {
		return nil, s.walker.unexpected(data, i, "a key")
	}
	start := i + 1
	end, flags := stringEnd(data, start)
	if flags != 0 && !s.walker.stringOK(data, start, end, flags) {
		return nil, -1
	}
	if !s.walker.countKey(i, end-start) {
		return nil, -1
	}
	key := data[start:end]
	if flags&stringEscaped != 0 {
		key = e.unescape(key, len(data))
	}
	i = end + 1
	if i+1 < len(data) && data[i] == ':' && data[i+1] > ' ' {
		return key, i + 1
	}
	return key, s.walker.colon(data, i)
}

// value reads the value at data[i] into f, all but its key, and returns the
// index after it. depth is how many containers are open around it.
func (s *Scanner) value(data []byte, i, depth int, e *Event, f *Field) int {
	if i >= len(data) {
		return s.walker.unexpected(data, i, "a value")
	}
	f.Num, f.IsNum = 0, false
	start := i
	switch c := data[i]; c {
	case '"':
		start++
		end, flags := stringEnd(data, start)
		if flags != 0 && !s.walker.stringOK(data, start, end, flags) {
			return -1
		}
		f.Kind, f.Value = KindString, data[start:end]
		if flags&stringEscaped != 0 {
			f.Value = e.unescape(f.Value, len(data))
		}
		return end + 1
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		n := numberEnd(data, i)
		if n.end < 0 {
			return s.walker.fail(ReasonMalformed, ^n.end, "a digit is expected")
		}
		f.Kind, f.Value = KindNumber, data[start:n.end]
		f.Num, f.IsNum = n.float(f.Value)
		return n.end
	case '{':
		f.Kind = KindObject
	case '[':
		f.Kind = KindArray
	case 'n':
		f.Kind = KindNull
	default: // true, false, or a fault that the walker names
		f.Kind = KindBool
	}
	if i = s.walker.value(data, i, depth); i < 0 {
		return -1
	}
	f.Value = data[start:i]
	return i
}

// unescape returns the text of the escaped string s. size bounds all texts of
// the event together, since no escape is shorter than what it stands for: the
// buffer never grows while slices of it are in use.
func (e *Event) unescape(s []byte, size int) []byte {
	if cap(e.text) < size {
		e.text = make([]byte, 0, size)
	}
	start := len(e.text)
	e.text = unescape(e.text, s)
	return e.text[start:len(e.text):len(e.text)]
}
