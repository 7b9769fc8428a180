package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	examples "github.com/millrace/millrace/schemas/event"
)

// taken takes a value apart to the depth that is asked for and puts it together
// again, without white space between the parts.
func taken(c *Cursor, dst []byte, depth int) []byte {
	kind := c.Kind()
	if depth == 0 || (kind != KindObject && kind != KindArray) {
		return append(dst, c.Value()...)
	}
	c.Enter()
	if kind == KindArray {
		dst = append(dst, '[')
		for c.Next() {
			dst = taken(c, AppendComma(dst), depth-1)
		}
		return append(dst, ']')
	}
	dst = append(dst, '{')
	for c.Next() {
		dst = append(AppendComma(dst), '"')
		dst = append(append(dst, c.RawKey()...), `":`...)
		dst = taken(c, dst, depth-1)
	}
	return append(dst, '}')
}

func TestCursor(t *testing.T) {
	for _, c := range []struct {
		body  string
		depth int
		want  string
	}{
		{`7`, 3, `7`},
		{` "a" `, 3, `"a"`},
		{"\xEF\xBB\xBF[]", 3, `[]`},
		{`{ }`, 1, `{}`},
		{`[ 1 , -2.50e+1, true,null ]`, 1, `[1,-2.50e+1,true,null]`},
		{`{"a" : {"b": [1, 2]}, "c":"x"}`, 1, `{"a":{"b": [1, 2]},"c":"x"}`},
		{`{"a" : {"b": [1, 2]}, "c":"x"}`, 2, `{"a":{"b":[1, 2]},"c":"x"}`},
		{`{"a" : {"b": [1, 2]}, "c":"x"}`, 9, `{"a":{"b":[1,2]},"c":"x"}`},
		{`{"\u0061":1,"a":2}`, 9, `{"\u0061":1,"a":2}`},
		{`[[[[]]],{}]`, 2, `[[[[]]],{}]`},
	} {
		var cursor Cursor
		cursor.Reset([]byte(c.body))
		got := taken(&cursor, nil, c.depth)
		if err := cursor.End(); err != nil || string(got) != c.want {
			t.Errorf("%s to depth %d: got %s, %v, want %s", c.body, c.depth, got, err, c.want)
		}
	}
}

func TestCursorSaysWhere(t *testing.T) {
	for _, c := range []struct {
		body   string
		offset int
		line   int
		msg    string
	}{
		{"", 0, 1, "an empty body"},
		{" \n ", 3, 2, "an empty body"},
		{"{\n \"a\":tru}", 7, 2, "a value is expected"},
		{`{"a":1`, 6, 1, "it ends where ',' or a closing bracket is expected"},
		{`{"a":1]`, 6, 1, "',' or a closing bracket is expected"},
		{`[1}`, 2, 1, "',' or a closing bracket is expected"},
		{`[1,]`, 3, 1, "a value is expected"},
		{`{"a":1,}`, 7, 1, "a key is expected"},
		{`{"a"}`, 4, 1, "':' is expected"},
		{`{"a\x":1}`, 3, 1, "a broken escape in a string"},
		{`{} x`, 3, 1, "the end is expected"},
		{`{"a":[1,{"b":01}]}`, 14, 1, "a digit is expected"},
	} {
		for depth := range 4 {
			var cursor Cursor
			cursor.Reset([]byte(c.body))
			taken(&cursor, nil, depth)
			err := cursor.End()
			syntax, ok := errors.AsType[*SyntaxError](err)
			if !ok || syntax.Offset != c.offset || syntax.Line != c.line || (syntax.Msg != c.msg && depth == 3) {
				t.Errorf("%q to depth %d: %v, want byte %d (line %d): %s", c.body, depth, err, c.offset, c.line, c.msg)
			}
		}
	}
}

func TestCursorSkipsWhatIsNotRead(t *testing.T) {
	var c Cursor
	c.Reset([]byte(`{"a":{"b":[1,2,3],"c":4},"d":[{"e":5}],"f":6}`))
	var seen []string
	for c.Enter(); c.Next(); {
		seen = append(seen, string(c.Key()))
		if string(c.Key()) == "d" {
			for c.Enter(); c.Next(); {
				seen = append(seen, fmt.Sprint(c.Offset()))
			}
		}
	}
	if err := c.End(); err != nil || strings.Join(seen, " ") != "a d 30 f" {
		t.Errorf("saw %v, %v", seen, err)
	}
}

func TestCursorMember(t *testing.T) {
	var c Cursor
	c.Reset([]byte(`{ "a" : 1 , "\u0062":{ } }`))
	var got []string
	for c.Enter(); c.Next(); {
		got = append(got, fmt.Sprintf("%s=%s@%d", c.Key(), c.Member(), c.Start()))
	}
	if want := `[a="a" : 1@2 b="\u0062":{ }@12]`; fmt.Sprint(got) != want || c.End() != nil {
		t.Errorf("got %v, want %s", got, want)
	}
}

func TestCursorFail(t *testing.T) {
	var c Cursor
	c.Reset([]byte("{\"a\":1,\n\"batch\":2,\"x\":tru}"))
	for c.Enter(); c.Next(); {
		if string(c.Key()) == "batch" {
			c.Fail("batch is not an array")
		}
	}
	if got, want := fmt.Sprint(c.End()), "body cannot be read: batch is not an array at byte 8 (line 2)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if c.Next() || c.Value() != nil || c.Member() != nil {
		t.Error("it goes on after a fault")
	}
}

// TestCursorIsSafeInDepth takes apart what is nested deeper than any stack.
func TestCursorIsSafeInDepth(t *testing.T) {
	deep := strings.Repeat("[", 1<<20)
	var c Cursor
	c.Reset([]byte(deep + strings.Repeat("]", 1<<20)))
	if c.Value(); c.End() != nil {
		t.Error(c.End())
	}
	c.Reset([]byte(deep))
	for range 100 { // more than can be entered
		c.Enter()
		c.Next()
	}
	if got := fmt.Sprint(c.End()); !strings.Contains(got, "nested deeper than can be entered at byte") {
		t.Error(got)
	}
}

func TestUnquote(t *testing.T) {
	for _, c := range []struct {
		raw, want string
		ok        bool
	}{
		{`""`, "", true},
		{`"a"`, "a", true},
		{`"\u00fc\n\"\ud83d\ude00"`, "ü\n\"😀", true},
		{`"\ud83d"`, "\uFFFD", true},
		{`7`, "", false},
		{``, "", false},
		{`"`, "", false},
		{`"a"b"`, "", false},
		{`"a\"`, "", false},
	} {
		if got, ok := Unquote([]byte(c.raw)); string(got) != c.want || ok != c.ok {
			t.Errorf("%s: got %q, %v", c.raw, got, ok)
		}
	}
}

func TestAppendMember(t *testing.T) {
	dst := AppendMember([]byte("{"), "a", []byte("1"))
	dst = AppendMember(dst, `q"\`, []byte(`{}`))
	dst = append(AppendMember(dst, "c\x01\n", AppendString(nil, "\t\b\f\r/ü")), '}')
	want := `{"a":1,"q\"\\":{},"c\u0001\n":"\t\b\f\r/ü"}`
	if string(dst) != want || !json.Valid(dst) {
		t.Errorf("got %s, want %s", dst, want)
	}
}

// FuzzCursor compares with encoding/json: what is taken apart without a fault
// is valid, and is the same when it is put together again. What strings unquote
// to is quoted to the same text.
func FuzzCursor(f *testing.F) {
	for _, x := range append(examples.Valid(), examples.Invalid()...) {
		f.Add(x.JSON, uint8(2))
	}
	f.Add([]byte(`[[{"a":"\ud800"}],[]]`), uint8(200))
	var used Cursor
	f.Fuzz(func(t *testing.T, data []byte, depth uint8) {
		before := bytes.Clone(data)
		used.Reset(data)
		got := taken(&used, nil, min(int(depth), maxEntered-1))
		err := used.End()
		if !bytes.Equal(data, before) {
			t.Fatal("the data were changed")
		}
		data = bytes.TrimPrefix(data, []byte(byteOrderMark))
		if (err == nil) != json.Valid(data) {
			t.Fatalf("error %v of JSON that is valid: %v", err, json.Valid(data))
		}
		if err != nil {
			if syntax, ok := errors.AsType[*SyntaxError](err); !ok || syntax.Offset > len(before) {
				t.Fatalf("not where: %v", err)
			}
			return
		}
		var a, b bytes.Buffer
		if json.Compact(&a, data) != nil || json.Compact(&b, got) != nil || !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Fatalf("%s became %s", data, got)
		}
		if text, ok := Unquote(got); ok {
			again, ok := Unquote(AppendString(nil, text))
			if !ok || !bytes.Equal(text, again) {
				t.Fatalf("%s became %q and then %q", got, text, again)
			}
			var want string
			if utf8.Valid(got) && (json.Unmarshal(got, &want) != nil || want != string(text)) {
				t.Fatalf("%s became %q, not %q", got, text, want)
			}
		}
	})
}
