package event

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	examples "github.com/millrace/millrace/schemas/event"
)

// FuzzScan compares with encoding/json: what is accepted is valid and means
// the same, what is called malformed is not valid.
func FuzzScan(f *testing.F) {
	for _, x := range append(examples.Valid(), examples.Invalid()...) {
		f.Add(x.JSON)
	}
	f.Add([]byte(benchEvent))
	f.Add([]byte(`{"event":"V","userId":"u","properties":{"\ud83d\ude00":"\ud83d\ude00","x":-0.0e-0}}`))
	s, used := NewScanner(DefaultLimits()), new(Event)
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		r := s.Scan(data, used)
		if !bytes.Equal(before, data) {
			t.Fatal("the scanned bytes were changed")
		}
		fresh := new(Event)
		again := NewScanner(DefaultLimits()).Scan(data, fresh)
		if (r == nil) != (again == nil) || (r != nil && *r != *again) {
			t.Fatalf("a used scanner says %v, a fresh one %v", r, again)
		}
		if r != nil {
			if !r.Reason.Valid() {
				t.Fatalf("unknown reason %q", r.Reason)
			}
			if r.Reason == ReasonMalformed && json.Valid(data) {
				t.Fatalf("valid JSON is refused: %v", r)
			}
			return
		}
		if got, want := render(used), render(fresh); got != want {
			t.Fatalf("a used event holds\n%sa fresh one\n%s", got, want)
		}
		compare(t, data, fresh)
	})
}

// compare checks e, scanned from data, against encoding/json.
func compare(t *testing.T, data []byte, e *Event) {
	t.Helper()
	if !json.Valid(data) || !utf8.Valid(data) {
		t.Fatal("accepted, but not JSON in UTF-8")
	}
	top := object(t, data)
	take := func(names ...string) json.RawMessage {
		for _, name := range names {
			if v, ok := top[name]; ok {
				delete(top, name)
				return v
			}
		}
		return nil
	}
	id := func(got []byte, names ...string) {
		t.Helper()
		if want := text(t, take(names...)); string(got) != want {
			t.Fatalf("%s is %q, want %q", names[0], got, want)
		}
	}
	// Read before the fields are taken away: the session may come from them.
	session := text(t, top["sessionId"]) + text(t, top["session_id"])
	if session == "" {
		for _, from := range []struct{ in, key string }{
			{"properties", "$session_id"}, {"event_data", "$session_id"}, {"context", "sessionId"},
		} {
			if v := text(t, object(t, top[from.in])[from.key]); session == "" && len(v) <= DefaultLimits().MaxID {
				session = v
			}
		}
	}
	take("sessionId", "session_id")
	if string(e.SessionID) != session {
		t.Fatalf("session is %q, want %q", e.SessionID, session)
	}
	id(e.MessageID, "messageId", "message_id")
	id(e.UserID, "userId", "user_id")
	id(e.AnonymousID, "anonymousId", "anonymous_id")
	id(e.PreviousID, "previousId", "previous_id")
	id(e.GroupID, "groupId", "group_id")
	kind := text(t, take("type"))
	if kind == "" {
		kind = "track"
	}
	if string(e.Type) != kind {
		t.Fatalf("type is %q, want %q", e.Type, kind)
	}
	name := text(t, take("event", "event_type"))
	if name == "" && (kind == "page" || kind == "screen") {
		name = text(t, take("name"))
	}
	if string(e.Name) != name {
		t.Fatalf("name is %q, want %q", e.Name, name)
	}
	if len(e.User()) == 0 || (kind == "track" && name == "") {
		t.Fatal("accepted without user or name")
	}
	for _, c := range []struct {
		got  Time
		want json.RawMessage
	}{
		{e.Timestamp, take("timestamp")},
		{e.OriginalTimestamp, take("originalTimestamp", "original_timestamp")},
		{e.SentAt, take("sentAt", "sent_at")},
	} {
		present := c.want != nil && string(c.want) != "null"
		ms, ok := ParseTime([]byte(text(t, c.want)))
		if c.got.Set != present || (present && (!ok || c.got.Ms != ms)) {
			t.Fatalf("%s became %+v", c.want, c.got)
		}
	}
	take("writeKey", "write_key")
	compareFields(t, e.Properties, object(t, take("properties", "event_data")))
	compareFields(t, e.Traits, object(t, take("traits")))
	context := object(t, take("context"))
	compareFields(t, e.Context, withoutColumns(t, context))
	compareFields(t, e.Extra, top)

	if want := stringIn(t, context, "userAgent"); string(e.UserAgent) != want {
		t.Fatalf("user agent is %q, want %q", e.UserAgent, want)
	}
	campaign := object(t, context["campaign"])
	if want := stringIn(t, campaign, "source"); string(e.Campaign.Source) != want {
		t.Fatalf("campaign source is %q, want %q", e.Campaign.Source, want)
	}
	if kind != "page" {
		if want := stringIn(t, object(t, context["page"]), "url"); string(e.PageURL) != want {
			t.Fatalf("url is %q, want %q", e.PageURL, want)
		}
	}
}

func compareFields(t *testing.T, got []Field, want map[string]json.RawMessage) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d fields, want %d", len(got), len(want))
	}
	for _, f := range got {
		raw, ok := want[string(f.Key)]
		if !ok {
			t.Fatalf("key %q is not there", f.Key)
		}
		value, isNum, num, kind := string(raw), false, 0.0, KindNumber
		switch raw[0] {
		case '"':
			value, kind = text(t, raw), KindString
		case '{':
			kind = KindObject
		case '[':
			kind = KindArray
		case 'n':
			kind = KindNull
		case 't', 'f':
			kind = KindBool
		default:
			v, err := strconv.ParseFloat(value, 64)
			if err == nil {
				isNum, num = true, v
			}
		}
		if string(f.Value) != value || f.Kind != kind || f.IsNum != isNum || math.Float64bits(f.Num) != math.Float64bits(num) {
			t.Fatalf("key %q: got %q %v %v %v, want %q %v %v %v",
				f.Key, f.Value, f.Kind, f.IsNum, f.Num, value, kind, isNum, num)
		}
	}
}

// object decodes raw; nil unless it is an object.
func object(t *testing.T, raw json.RawMessage) map[string]json.RawMessage {
	t.Helper()
	var m map[string]json.RawMessage
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || raw[0] != '{' {
		return nil
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// text is the text of a string or number; "" for null, absent and the rest.
func text(t *testing.T, raw json.RawMessage) string {
	t.Helper()
	if len(raw) == 0 {
		return ""
	}
	switch c := raw[0]; {
	case c == '"':
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			t.Fatal(err)
		}
		return s
	case c == '-' || '0' <= c && c <= '9':
		return string(raw)
	}
	return ""
}

func stringIn(t *testing.T, m map[string]json.RawMessage, key string) string {
	t.Helper()
	if raw := m[key]; len(raw) == 0 || raw[0] != '"' {
		return ""
	}
	return text(t, m[key])
}

// TestScanEveryPrefix cuts events short everywhere: never accepted, never a
// panic, never read past the end.
func TestScanEveryPrefix(t *testing.T) {
	s, e := NewScanner(DefaultLimits()), new(Event)
	for _, x := range examples.Valid() {
		for n := range len(x.JSON) {
			cut := x.JSON[:n:n]
			r := s.Scan(cut, e)
			if r == nil {
				t.Fatalf("%s: its first %d bytes are accepted", x.Name, n)
			}
			if r.Reason != ReasonMalformed {
				t.Fatalf("%s: its first %d bytes are refused for %v", x.Name, n, r)
			}
		}
	}
}

// TestScanEveryByte puts every byte value at every place of an event.
func TestScanEveryByte(t *testing.T) {
	s, e := NewScanner(DefaultLimits()), new(Event)
	const sample = `{"event":"Vi\u00e9w","userId":"u","properties":{"a":[1.5e3,true,{"b":null}],"c":-0.25},"timestamp":"2026-03-01T09:30:00Z"}`
	for i := range len(sample) {
		for c := range 256 {
			data := []byte(sample)
			data[i] = byte(c)
			if r := s.Scan(data, e); r == nil {
				compare(t, data, e)
			} else if r.Reason == ReasonMalformed && json.Valid(data) {
				t.Fatalf("valid JSON is refused: %v: %s", r, data)
			}
		}
	}
}

// TestScanKeepsSlices checks that texts stay what they are while later ones
// are unescaped, for the buffer behind them must not move or be overwritten.
func TestScanKeepsSlices(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"event":"\u0056","userId":"\u0075","properties":{`)
	for i := range 200 {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"\u006b` + strconv.Itoa(i) + `":"\tv` + strconv.Itoa(i) + `"`)
	}
	b.WriteString("}}")
	e := new(Event)
	if r := NewScanner(DefaultLimits()).Scan([]byte(b.String()), e); r != nil {
		t.Fatal(r)
	}
	compare(t, []byte(b.String()), e)
}

func TestScanRefusesDuplicateAmongMany(t *testing.T) {
	s, e := NewScanner(DefaultLimits()), new(Event)
	for n := 1; n < 60; n++ {
		for dup := range n {
			var list []string
			for i := range n {
				list = append(list, `"k`+strconv.Itoa(i)+`":0`)
			}
			good := `{"event":"V","userId":"u","properties":{` + strings.Join(list, ",") + `}}`
			if r := s.Scan([]byte(good), e); r != nil {
				t.Fatalf("%d keys: %v", n, r)
			}
			list = append(list, `"k`+strconv.Itoa(dup)+`":0`)
			bad := `{"event":"V","userId":"u","properties":{` + strings.Join(list, ",") + `}}`
			if r := s.Scan([]byte(bad), e); r == nil || r.Reason != ReasonDuplicateKey {
				t.Fatalf("%d keys, key %d twice: got %v", n, dup, r)
			}
		}
	}
}

// Many keys of context lie around many keys of context.page: neither set may
// hide the other's.
func TestScanKeepsKeySetsApart(t *testing.T) {
	many := func(prefix string, n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(`"` + prefix + strconv.Itoa(i) + `":0,`)
		}
		return b.String()
	}
	s, e := NewScanner(DefaultLimits()), new(Event)
	for _, c := range []struct {
		page, after string
		want        Reason
	}{
		{`"c1":0`, `"p1":0`, ""},
		{`"c1":0`, `"c1":0`, ReasonDuplicateKey},
		{`"p1":0`, `"p1":0`, ReasonDuplicateKey},
	} {
		data := `{"event":"V","userId":"u",` + many("x", 20) + `"context":{` + many("c", 20) +
			`"page":{` + many("p", 20) + c.page + `},` + c.after + `},` + many("y", 20) + `"z":0}`
		var got Reason
		if r := s.Scan([]byte(data), e); r != nil {
			got = r.Reason
		}
		if got != c.want {
			t.Errorf("page ends with %s, context with %s: got %q, want %q", c.page, c.after, got, c.want)
		}
	}
}

// An Event that is used for ever must not grow for ever.
func TestScanKeepsItsBufferSmall(t *testing.T) {
	s, e := NewScanner(DefaultLimits()), new(Event)
	data := bytes.ReplaceAll([]byte(benchEvent), []byte("shop"), []byte(`sh\u00f6p`))
	for range 1000 {
		if r := s.Scan(data, e); r != nil {
			t.Fatal(r)
		}
	}
	if got := cap(e.text); got > 2*len(data) {
		t.Errorf("the buffer has grown to %d bytes", got)
	}
}

// TestRefusalNamesThePlace holds the offset in Detail to the faulty byte.
func TestRefusalNamesThePlace(t *testing.T) {
	s, e := NewScanner(DefaultLimits()), new(Event)
	for _, c := range []struct{ data, want string }{
		{`{"a":tru}`, "malformed: a value is expected at byte 5"},
		{`{"a":1 "b":2}`, "malformed: ',' or '}' is expected at byte 7"},
		{`{"a" 1}`, "malformed: ':' is expected at byte 5"},
		{`{a:1}`, "malformed: a key is expected at byte 1"},
		{`{"a":[1 2]}`, "malformed: ',' or a closing bracket is expected at byte 8"},
		{`{"a":1.}`, "malformed: a digit is expected at byte 7"},
		{`{"a":"x`, "malformed: it ends inside a string at byte 7"},
		{`{} x`, "malformed: the end is expected at byte 3"},
		{`{"a":"\q"}`, "malformed: a broken escape in a string at byte 6"},
		{``, "malformed: it ends where a value is expected at byte 0"},
		{`{"userId":"u","userId":"u"}`, "duplicate_key: a field that occurred before at byte 14"},
		{`{"properties":[]}`, "bad_field: properties is not an object at byte 14"},
		{`[]`, "not_an_object"},
	} {
		r := s.Scan([]byte(c.data), e)
		if r == nil || r.Error() != c.want {
			t.Errorf("%s: got %v, want %s", c.data, r, c.want)
		}
	}
}

func TestScanDoesNotAllocate(t *testing.T) {
	s, e := NewScanner(DefaultLimits()), new(Event)
	for _, data := range [][]byte{
		[]byte(benchEvent),
		bytes.ReplaceAll([]byte(benchEvent), []byte("shop"), []byte(`sh\u00f6p`)),
		[]byte(`{"anonymousId":"a","event":"V","properties":{"long":1234567890.12345678901234567890}}`),
	} {
		if n := testing.AllocsPerRun(100, func() {
			if r := s.Scan(data, e); r != nil {
				t.Fatal(r)
			}
		}); n != 0 {
			t.Errorf("%v allocations for %s", n, data)
		}
	}
}
