package live

import (
	"bytes"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/millrace/millrace/libs/event/frame"
)

// stamp is RFC 3339 in UTC with milliseconds; every time of an event has exactly this length.
const stamp = "2006-01-02T15:04:05.000Z"

// appendEvent writes one row as a JSON object on one line. The names are those of the table events, in its order; what is
// absent is left out. A value of properties, traits and context is a number if the client sent a number, in its own
// spelling; everything else is text, as in the table. receipt and idx are the place of the row: the first is what `after`
// takes, both together name the row for good.
func appendEvent(dst []byte, shard int, seq uint64, x row) []byte {
	dst = append(dst, `{"receipt":"`...)
	dst = strconv.AppendInt(dst, int64(shard), 10)
	dst = append(dst, ':')
	dst = strconv.AppendUint(dst, seq, 10)
	dst = append(dst, `","idx":`...)
	dst = strconv.AppendUint(dst, uint64(x.v.U32(frame.ColIdx, x.r)), 10)
	for c := frame.ColSource; c < len(frame.Columns); c++ {
		switch c {
		case frame.ColTimestamp, frame.ColOriginalTimestamp, frame.ColSentAt, frame.ColReceivedAt:
			if ms := x.v.Millis(c, x.r); ms != 0 || c == frame.ColTimestamp {
				dst = time.UnixMilli(ms).UTC().AppendFormat(append(appendName(dst, c), '"'), stamp)
				dst = append(dst, '"')
			}
		case frame.ColIsBot:
			if x.v.Bool(c, x.r) {
				dst = append(appendName(dst, c), "true"...)
			}
		case frame.ColProperties, frame.ColTraits, frame.ColContext, frame.ColExtra:
			dst = appendMap(dst, c, x)
		case frame.ColPropertiesNum, frame.ColTraitsNum, frame.ColContextNum: // beside their texts, above
		default:
			if v := x.v.Str(c, x.r); len(v) > 0 {
				dst = appendString(appendName(dst, c), v)
			}
		}
	}
	return append(dst, '}')
}

func appendName(dst []byte, c int) []byte {
	dst = append(dst, ',', '"')
	dst = append(dst, frame.Columns[c].Name...) // of our own: letters and underscores
	return append(dst, '"', ':')
}

func appendMap(dst []byte, c int, x row) []byte {
	numbers := numericKeys(c, x)
	n := 0
	for k, v := range x.v.Entries(c, x.r) {
		if n == 0 {
			dst = append(appendName(dst, c), '{')
		} else {
			dst = append(dst, ',')
		}
		n++
		dst = append(appendString(dst, k), ':')
		if _, number := slices.BinarySearchFunc(numbers, k, bytes.Compare); number && begins(v) {
			dst = append(dst, v...) // the literal that was sent
		} else {
			dst = appendString(dst, v)
		}
	}
	if n > 0 {
		dst = append(dst, '}')
	}
	return dst
}

// numericKeys are the keys, in order, whose values were JSON numbers. An event may have thousands.
func numericKeys(c int, x row) (keys [][]byte) {
	numbers, typed := numbersOf[c]
	if !typed {
		return nil
	}
	for k := range x.v.FloatEntries(numbers, x.r) {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, bytes.Compare)
	return keys
}

// begins says whether text begins as a JSON number does.
func begins(v []byte) bool { return len(v) > 0 && (v[0] == '-' || v[0] >= '0' && v[0] <= '9') }

const hex = "0123456789abcdef"

// appendString writes a JSON string. Text in frames is valid UTF-8; what is not all the same becomes U+FFFD.
func appendString(dst, s []byte) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		switch b := s[i]; {
		case b >= utf8.RuneSelf:
			r, size := utf8.DecodeRune(s[i:])
			if r == utf8.RuneError && size == 1 {
				dst = append(append(dst, s[from:i]...), "\ufffd"...)
				i++
				from = i
				continue
			}
			i += size
		case b >= ' ' && b != '"' && b != '\\':
			i++
		default:
			dst = append(dst, s[from:i]...)
			switch b {
			case '"', '\\':
				dst = append(dst, '\\', b)
			case '\n':
				dst = append(dst, '\\', 'n')
			case '\t':
				dst = append(dst, '\\', 't')
			default:
				dst = append(dst, '\\', 'u', '0', '0', hex[b>>4], hex[b&15])
			}
			i++
			from = i
		}
	}
	return append(append(dst, s[from:]...), '"')
}
