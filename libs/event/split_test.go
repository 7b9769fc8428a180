package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// cut returns the events of body as Split hands them out.
func cut(t *testing.T, body string, ndjson bool) ([]string, error) {
	t.Helper()
	var got []string
	n, err := Split([]byte(body), ndjson, func(i int, raw []byte, _ *Refusal) error {
		if i != len(got) {
			t.Errorf("%q: index %d after %d events", body, i, len(got))
		}
		got = append(got, string(raw))
		return nil
	})
	if n != len(got) {
		t.Errorf("%q: %d events, %d handed out", body, n, len(got))
	}
	return got, err
}

func TestSplit(t *testing.T) {
	deep := strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)
	for _, c := range []struct {
		name, body string
		ndjson     bool
		want       []string
	}{
		{"one", `{"a":1}`, false, []string{`{"a":1}`}},
		{"one in white space", " \r\n\t{\"a\":1}\n \n", false, []string{`{"a":1}`}},
		{"one over lines", "{\n\"a\":1\n}\n", false, []string{"{\n\"a\":1\n}"}},
		{"array", `[{"a":1}, {"b":2} ]`, false, []string{`{"a":1}`, `{"b":2}`}},
		{"array over lines", "[\n{\"a\":1},\n{\"b\":2}\n]\n", false, []string{`{"a":1}`, `{"b":2}`}},
		{"empty array", ` [ ] `, false, nil},
		{"array of what is no event", `[null,1,"x",[],{}]`, false, []string{"null", "1", `"x"`, "[]", "{}"}},
		{"null", `null`, false, []string{"null"}},
		{"string", ` "bare" `, false, []string{`"bare"`}},
		{"number", `12`, false, []string{"12"}},
		{"byte order mark", "\xEF\xBB\xBF[{}]", false, []string{"{}"}},
		{"byte order mark, ndjson", "\xEF\xBB\xBF{}\n{}", true, []string{"{}", "{}"}},
		{"two lines, not told", "{\"a\":1}\n{\"b\":2}\n", false, []string{`{"a":1}`, `{"b":2}`}},
		{"two on one line, not told", `{"a":1}{"b":2}`, false, []string{`{"a":1}`, `{"b":2}`}},
		{"two over lines, not told", "{\n\"a\":1}\n{\n\"b\":2}", false, []string{"{\n\"a\":1}", "{\n\"b\":2}"}},
		{"second line broken, not told", "{\"a\":1} \r\nnot json\n{\"b\":2}", false, []string{`{"a":1} `, "not json", `{"b":2}`}},
		{"blank lines", "\n\n{\"a\":1}\n \t\r\n\r\n{\"b\":2}\n\n", true, []string{`{"a":1}`, `{"b":2}`}},
		{"line endings", "{\"a\":1}\r\n{\"b\":2}\r\n", true, []string{`{"a":1}`, `{"b":2}`}},
		{"no last line ending", "{}\n{}", true, []string{"{}", "{}"}},
		{"a broken line keeps its bytes", "{\"a\":1}\n  {\"b\": \xff \n{\"c\":3}", true, []string{`{"a":1}`, "  {\"b\": \xff ", `{"c":3}`}},
		{"every line broken", "one\ntwo\n", true, []string{"one", "two"}},
		{"an array on a line is no event", "[{}]\n", true, []string{"[{}]"}},
		{"one event, told", `{"a":1}`, true, []string{`{"a":1}`}},
		{"invalid UTF-8 is its event's fault", "[{\"a\":\"\xff\"},{}]", false, []string{"{\"a\":\"\xff\"}", "{}"}},
		{"half a surrogate pair too", `[{"a":"\ud800"},{}]`, false, []string{`{"a":"\ud800"}`, "{}"}},
		{"duplicate keys too", `[{"a":1,"a":2},{}]`, false, []string{`{"a":1,"a":2}`, "{}"}},
		{"depth too", `[{"a":` + deep + `},{}]`, false, []string{`{"a":` + deep + `}`, "{}"}},
		{"depth of the body", deep, false, []string{deep[1 : len(deep)-1]}},
		{"brackets in strings", `[{"a":"]},[{\"\\"},{}]`, false, []string{`{"a":"]},[{\"\\"}`, "{}"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := cut(t, c.body, c.ndjson)
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("got %.200q, %v\nwant %.200q", got, err, c.want)
			}
		})
	}
}

func TestSplitUnreadable(t *testing.T) {
	for _, c := range []struct {
		body   string
		ndjson bool
		offset int
		line   int
	}{
		{"", false, 0, 1},
		{"", true, 0, 1},
		{" \n\t ", false, 4, 1},
		{"\n\r\n", true, 3, 1},
		{"\xEF\xBB\xBF", false, 3, 1},
		{"{", false, 1, 1},
		{`{"a":1`, false, 6, 1},
		{"{\"a\":1,\n\"b\":}", false, 12, 2},
		{"[{\"a\":1},\n{\"a\":NaN}]", false, 15, 2},
		{`[{"a":1}`, false, 8, 1},
		{`[{"a":1},]`, false, 9, 1},
		{`[,{}]`, false, 1, 1},
		{`[{} {}]`, false, 4, 1},
		{`[{}]]`, false, 4, 1},
		{`[{}],{}`, false, 4, 1},
		{`[{}]{}`, false, 4, 1},
		{`{"a":1},{"b":2}`, false, 7, 1},
		{`{"a":1} x`, false, 8, 1},
		{"{\n\"a\":1}\nx", false, 9, 3},
		{"not json\n{\"a\":1}", false, 0, 1},
		{"[{\"a\":\"\x01\"}]", false, 7, 1},
		{`[{"a":"\x"}]`, false, 7, 1},
		{"[{\"a\":01}]", false, 7, 1},
		{strings.Repeat("[", 100_000), false, 100_000, 1},
		{strings.Repeat(`{"a":`, 100_000), false, 500_000, 1},
		{"\x1f\x8b\x08", false, 0, 1},
	} {
		got, err := cut(t, c.body, c.ndjson)
		var s *SyntaxError
		if !errors.As(err, &s) || len(got) > 0 {
			t.Errorf("%.60q: got %.60q, %v", c.body, got, err)
			continue
		}
		if want := fmt.Sprintf("at byte %d (line %d)", c.offset, c.line); !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%.60q: %v, want it to end with %s", c.body, err, want)
		}
		if s.Offset != c.offset || s.Line != c.line {
			t.Errorf("%.60q: %v, want byte %d, line %d", c.body, s, c.offset, c.line)
		}
	}
}

// Large events are refused while their neighbours are not, however they come.
func TestSplitTooLarge(t *testing.T) {
	large := `{"a":"` + strings.Repeat("x", DefaultLimits().MaxEvent) + `"}`
	for _, c := range []struct {
		body   string
		ndjson bool
	}{
		{"[{}," + large + ",{}]", false},
		{"{}\n" + large + "\n{}", false},
		{"{}\n" + large + "\n{}", true},
	} {
		var got []string
		n, err := Split([]byte(c.body), c.ndjson, func(i int, raw []byte, r *Refusal) error {
			if r == nil {
				got = append(got, fmt.Sprint(i, " fine"))
			} else {
				got = append(got, fmt.Sprint(i, " ", r.Reason, " ", len(raw)))
			}
			return nil
		})
		want := []string{"0 fine", fmt.Sprint("1 too_large ", len(large)), "2 fine"}
		if n != 3 || err != nil || !slices.Equal(got, want) {
			t.Errorf("got %v, %d, %v", got, n, err)
		}
	}
}

func TestSplitStopsAtAnError(t *testing.T) {
	stop := errors.New("stop")
	n, err := Split([]byte("[{},{},{}]"), false, func(i int, _ []byte, _ *Refusal) error {
		if i == 1 {
			return stop
		}
		return nil
	})
	if n != 1 || !errors.Is(err, stop) {
		t.Errorf("got %d, %v", n, err)
	}
}

// Events that are appended to must not write over their neighbours.
func TestSplitHandsOutNoSpareRoom(t *testing.T) {
	body := []byte("[{},{}]")
	_, err := Split(body, false, func(_ int, raw []byte, _ *Refusal) error {
		_ = append(raw, "xx"...)
		return nil
	})
	if err != nil || string(body) != "[{},{}]" {
		t.Errorf("got %s, %v", body, err)
	}
}

func TestSplitDoesNotAllocate(t *testing.T) {
	s := NewSplitter(DefaultLimits())
	body := []byte("[" + benchEvent + "," + benchEvent + "]")
	if n := testing.AllocsPerRun(100, func() {
		if _, err := s.Split(body, false, func(int, []byte, *Refusal) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzSplit checks that no byte is lost: events lie in the body in order, and
// between them is nothing but what separates them.
func FuzzSplit(f *testing.F) {
	for _, s := range []string{
		"", "null", "[]", `{"a":1}`, `[{"a":1},{"b":[1,2,{"c":null}]}]`, "{}\n{}\n", "{}\nx\n", "\xEF\xBB\xBF[ ]", "{}{}", "[[[[]]]]", "{\"a\":\"\xff\\ud800\"}\r\n\r\n{}",
	} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	s := NewSplitter(DefaultLimits())
	f.Fuzz(func(t *testing.T, body []byte, ndjson bool) {
		at := 0
		var raws [][]byte
		between := ""
		n, err := s.Split(body, ndjson, func(_ int, raw []byte, _ *Refusal) error {
			i := int(uintptr(unsafe.Pointer(unsafe.SliceData(raw))) - uintptr(unsafe.Pointer(unsafe.SliceData(body))))
			if i < at || i+len(raw) > len(body) {
				t.Fatalf("event at %d to %d after one that ends at %d", i, i+len(raw), at)
			}
			between += string(body[at:i])
			at = i + len(raw)
			raws = append(raws, raw)
			return nil
		})
		between += string(body[at:])
		valid := json.Valid(bytes.TrimPrefix(body, []byte("\xEF\xBB\xBF")))
		if err != nil {
			if len(raws) > 0 {
				t.Fatalf("%d events of a body that is refused: %v", len(raws), err)
			}
			if syntax, ok := errors.AsType[*SyntaxError](err); ok {
				if valid {
					t.Fatalf("valid JSON cannot be read: %v", err)
				}
				if ndjson && len(bytes.Trim(bytes.TrimPrefix(body, []byte("\xEF\xBB\xBF")), " \t\r\n")) > 0 {
					t.Fatalf("lines cannot be read: %v", err)
				}
				if syntax.Offset < 0 || syntax.Offset > len(body) || syntax.Line < 1 {
					t.Fatalf("%+v is no place in %d bytes", syntax, len(body))
				}
			}
			return
		}
		if n != len(raws) {
			t.Fatalf("%d events, %d handed out", n, len(raws))
		}
		if strings.Trim(strings.TrimPrefix(between, "\xEF\xBB\xBF"), " \t\r\n,[]") != "" {
			t.Fatalf("between the events is %q", between)
		}
		if ndjson || !valid {
			return
		}
		var want []json.RawMessage
		if json.Unmarshal(bytes.TrimPrefix(body, []byte("\xEF\xBB\xBF")), &want) != nil || want == nil {
			want = []json.RawMessage{bytes.Trim(bytes.TrimPrefix(body, []byte("\xEF\xBB\xBF")), " \t\r\n")}
			if string(want[0]) == "[]" {
				want = nil
			}
		}
		if len(want) != len(raws) {
			t.Fatalf("%d events, want %d", len(raws), len(want))
		}
		for i := range want {
			if !bytes.Equal(raws[i], want[i]) {
				t.Fatalf("event %d is %q, want %q", i, raws[i], want[i])
			}
		}
	})
}
