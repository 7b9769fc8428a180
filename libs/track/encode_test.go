package track

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"
)

func TestWhatMessagesAreOnTheWire(t *testing.T) {
	at := time.Date(2026, 1, 31, 13, 0, 0, 123_456_789, time.FixedZone("", 3600))
	who := `"timestamp":"2026-01-31T12:00:00.123Z","userId":"u","anonymousId":"a",`
	check := func(m Message, want string) {
		t.Helper()
		e := newEncoder().(*encoder)
		if id, err := e.encode(t.Context(), m, nil); err != nil || e.buf.String() != want+"\n" || id != "m" {
			t.Errorf("%v\n%s\nwant %s", err, e.buf.String(), want)
		}
	}
	p, tr, c := Properties{"b": "<ä&\n>", "a": 1.5}, Traits{"plan": nil}, Context{"ip": "192.0.2.1"}
	check(Track{"u", "a", "s", "e", p, c, "m", at}, `{"type":"track","messageId":"m",`+who+`"sessionId":"s","event":"e","properties":{"a":1.5,"b":"<ä&\n>"},"context":{"ip":"192.0.2.1"}}`)
	check(Identify{"u", "a", "s", tr, c, "m", at}, `{"type":"identify","messageId":"m",`+who+`"sessionId":"s","traits":{"plan":null},"context":{"ip":"192.0.2.1"}}`)
	check(Page{"u", "a", "s", "n", p, c, "m", at}, `{"type":"page","messageId":"m",`+who+`"sessionId":"s","name":"n","properties":{"a":1.5,"b":"<ä&\n>"},"context":{"ip":"192.0.2.1"}}`)
	check(Screen{"u", "a", "s", "n", p, c, "m", at}, `{"type":"screen","messageId":"m",`+who+`"sessionId":"s","name":"n","properties":{"a":1.5,"b":"<ä&\n>"},"context":{"ip":"192.0.2.1"}}`)
	check(Group{"u", "a", "s", "g", tr, c, "m", at}, `{"type":"group","messageId":"m",`+who+`"groupId":"g","sessionId":"s","traits":{"plan":null},"context":{"ip":"192.0.2.1"}}`)
	check(Alias{"u", "a", "s", "p", c, "m", at}, `{"type":"alias","messageId":"m",`+who+`"previousId":"p","sessionId":"s","context":{"ip":"192.0.2.1"}}`)
	check(Raw(" {\n\"messageId\": \"m\",\n\"more\": [ 1 ]}\n"), `{"messageId":"m","more":[1]}`)
}

func TestIDAndTimeAreThoseOfTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stream{}
		c, _ := client(t, s, Linger(time.Hour))
		for range 1000 {
			c.Track(t.Context(), Track{UserID: "ada", Event: "seen"})
			time.Sleep(time.Millisecond)
		}
		closed(t, c)
		ids := s.stored(t)
		v7 := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
		if len(slices.Compact(slices.Clone(ids))) != 1000 || !slices.IsSorted(ids) || slices.ContainsFunc(ids, func(id string) bool { return !v7.MatchString(id) }) {
			t.Errorf("no UUIDv7 in the order of time: %v", ids[:10])
		}
		var first struct{ Timestamp string }
		if err := json.NewDecoder(strings.NewReader(s.messages[0])).Decode(&first); err != nil || first.Timestamp != "2000-01-01T00:00:00.000Z" {
			t.Errorf("%+v, %v", first, err)
		}
	})
}

func TestTheContextOfAnEvent(t *testing.T) {
	all := Context{"app": "1", "x": "all"}
	outer := WithContext(t.Context(), Context{"ip": "2", "x": "outer"})
	inner := WithContext(outer, Context{"page": "3", "x": "inner"})
	check := func(ctx context.Context, own Context, want string) {
		t.Helper()
		e := newEncoder().(*encoder)
		_, err := e.encode(ctx, Track{UserID: "ada", Event: "seen", Context: own}, all)
		_, got, _ := strings.Cut(e.buf.String(), `"context":`)
		if got = strings.TrimSuffix(got, "}\n"); err != nil || got != want {
			t.Errorf("%s, %v, want %s", got, err, want)
		}
	}
	check(t.Context(), nil, `{"app":"1","x":"all"}`)
	check(outer, nil, `{"app":"1","ip":"2","x":"outer"}`)
	check(inner, nil, `{"app":"1","ip":"2","page":"3","x":"inner"}`)
	check(inner, Context{"x": "own"}, `{"app":"1","ip":"2","page":"3","x":"own"}`)
	check(outer, nil, `{"app":"1","ip":"2","x":"outer"}`)
	if len(all) != 2 {
		t.Errorf("a map of the caller's has changed: %v", all)
	}
}

// FuzzEncode holds the encoder to this: whatever a caller passes, either the
// event is one line of JSON that says the same, or it is refused as invalid.
func FuzzEncode(f *testing.F) {
	f.Add("ada", "seen", "id", "key", "text", 1.5, []byte(`{"a":[1]}`), int64(0))
	f.Add("", "", "", "", "\xff\u2028\n", math.NaN(), []byte(`{`), int64(-1<<62))
	f.Add("\x00", "\"", "\\", "\xed\xa0\x80", "</script>", math.Inf(1), []byte("1\n2"), int64(1<<62))
	f.Fuzz(func(t *testing.T, user, name, id, key, text string, number float64, raw []byte, at int64) {
		messages := []Message{
			Track{UserID: user, Event: name, MessageID: id, Timestamp: time.UnixMilli(at), Properties: Properties{key: text, "number": number, "raw": json.RawMessage(raw), "map": map[string]any{text: []string{key}}}},
			Identify{UserID: user, AnonymousID: name, MessageID: id, Traits: Traits{key: text, text: number}},
			Page{UserID: user, SessionID: key, Name: name, MessageID: id, Context: Context{key: text}},
			Alias{UserID: user, PreviousID: text, MessageID: id, Context: Context{"page": map[string]string{key: text}}},
			Raw(raw),
		}
		e := newEncoder().(*encoder)
		for _, m := range messages {
			known, err := e.encode(t.Context(), m, Context{"app": text})
			line := e.buf.Bytes()
			if err != nil {
				if !errors.Is(err, ErrInvalid) {
					t.Fatalf("%#v: %v", m, err)
				}
				continue
			}
			if n := len(line) - 1; n < 0 || line[n] != '\n' || bytes.IndexByte(line[:n], '\n') >= 0 || !json.Valid(line) || !utf8.Valid(line) && utf8.Valid(raw) {
				t.Fatalf("%#v: %q is no line of JSON", m, line)
			}
			if _, isRaw := m.(Raw); isRaw {
				continue
			}
			var got struct {
				MessageID, UserID string
				Context           map[string]any
			}
			if err := json.Unmarshal(line, &got); err != nil {
				t.Fatalf("%#v: %v", m, err)
			}
			if got.UserID != written(user) || got.MessageID != written(known) || (id != "" && known != id) || got.Context["app"] != written(text) && key != "app" {
				t.Fatalf("%#v is written %q", m, line)
			}
		}
	})
}

// written is what becomes of a string that is not UTF-8: each bad byte is U+FFFD.
func written(s string) string {
	var b strings.Builder
	for _, r := range s {
		b.WriteRune(r)
	}
	return b.String()
}
