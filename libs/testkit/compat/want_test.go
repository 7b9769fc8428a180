package compat

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/millrace/millrace/libs/testkit"
)

// want is a row as it must be because of one call of an SDK: what was given to
// the call, and what the SDK says that it added (ids, times, its own name). The
// scripts in node/ print it in these words. What is not named must be empty.
type want struct {
	ID         string                     `json:"event_id"`
	Type       string                     `json:"type"`
	Event      string                     `json:"event"`
	UserID     string                     `json:"user_id"`
	Anonymous  string                     `json:"anonymous_id"`
	Previous   string                     `json:"previous_id"`
	Group      string                     `json:"group_id"`
	Properties map[string]json.RawMessage `json:"properties"`
	Traits     map[string]json.RawMessage `json:"traits"`
	Context    map[string]json.RawMessage `json:"context"`
	Extra      map[string]json.RawMessage `json:"extra"`
	// Columns are further ones, by name; "*" is any text but none.
	Columns map[string]string `json:"columns"`
	// At is when the SDK says that it happened, RFC 3339. Without it the time
	// of the receipt counts.
	At string `json:"at"`
	// Sent is whether the SDK says when it sent the request. Then the clock is
	// corrected by it.
	Sent bool `json:"sent"`

	sentAt time.Time // what each event says itself, in place of Sent
}

// object makes fields of a value, as encoding/json writes it.
func object(t testing.TB, value any) (fields map[string]json.RawMessage) {
	t.Helper()
	text, err := json.Marshal(value)
	if err == nil {
		err = json.Unmarshal(text, &fields)
	}
	if err != nil {
		t.Fatal(err)
	}
	return fields
}

// of the row's own place and receipt, which no SDK knows.
var ours = []string{"_shard", "_seq", "_idx", "source", "received_at"}

// check waits for the rows of a source and compares each with what is wanted.
func (m *mill) check(t *testing.T, source string, wanted []want) {
	t.Helper()
	var rows []row
	defer func() {
		if t.Failed() {
			for _, r := range rows {
				t.Logf("a row: %s", filled(r))
			}
		}
	}()
	testkit.Eventually(t, fmt.Sprintf("%d rows of %s", len(wanted), source), func() bool {
		if m.count(t, source) < len(wanted) {
			return false
		}
		rows = m.rows(t, source)
		return true
	})
	byID := map[string]row{}
	for _, r := range rows {
		id := r.text("event_id")
		if byID[id] != nil {
			t.Errorf("event %s is there twice", id)
		}
		byID[id] = r
	}
	for _, w := range wanted {
		if w.ID == "" {
			w.ID = given(byID, w)
		}
		r := byID[w.ID]
		if r == nil {
			t.Errorf("no row of %s %q %s", w.Type, w.Event, w.ID)
			continue
		}
		delete(byID, w.ID)
		t.Run(w.Type+" "+w.Event, func(t *testing.T) { w.compare(t, r) })
	}
	for id, r := range byID {
		t.Errorf("nobody sent %s: %s", id, filled(r))
	}
}

// given is the id that Millrace gave an event without one: its row is known by
// the event's name.
func given(rows map[string]row, w want) string {
	for id, r := range rows {
		if r.text("type") == w.Type && r.text("event") == w.Event {
			return id
		}
	}
	return ""
}

// filled is what a row has.
func filled(r row) string {
	rest := row{}
	for column, value := range r {
		if text := string(value); text != `""` && text != "{}" {
			rest[column] = value
		}
	}
	text, _ := json.Marshal(rest) // it was read from JSON
	return string(text)
}

func (w *want) compare(t *testing.T, r row) {
	columns := map[string]string{
		"event_id": w.ID, "type": w.Type, "event": w.Event, "user_id": w.UserID, "anonymous_id": w.Anonymous,
		"previous_id": w.Previous, "group_id": w.Group, "is_bot": "false", "ip": "127.0.0.1",
	}
	maps.Copy(columns, w.Columns)
	for column := range r {
		switch column {
		case "properties", "traits", "context", "extra":
			w.compareMap(t, r, column)
		case "properties_num", "traits_num", "context_num": // compared with the texts
		case "timestamp", "original_timestamp", "sent_at": // below
		default:
			if slices.Contains(ours, column) {
				continue
			}
			if got := r.text(column); got != columns[column] && (columns[column] != "*" || got == "") {
				t.Errorf("%s is %q, want %q", column, got, columns[column])
			}
		}
	}
	w.compareTimes(t, r)
}

func (w *want) compareTimes(t *testing.T, r row) {
	received, sent := r.time(t, "received_at"), r.time(t, "sent_at")
	original, timestamp := r.time(t, "original_timestamp"), r.time(t, "timestamp")
	switch said := w.sentAt.Truncate(time.Millisecond); {
	case !w.sentAt.IsZero() && !sent.Equal(said):
		t.Errorf("sent_at is %s, want %s", sent, said)
	case w.sentAt.IsZero() && (sent.Unix() != 0) != w.Sent:
		t.Errorf("sent_at is %s, want one: %v", sent, w.Sent)
	}
	at := received
	if w.At != "" {
		var err error
		if at, err = time.Parse(time.RFC3339Nano, w.At); err != nil {
			t.Fatal(err)
		}
		at = at.Truncate(time.Millisecond)
	}
	if !original.Equal(at) {
		t.Errorf("original_timestamp is %s, want %s", original, at)
	}
	if sent.Unix() != 0 && w.At != "" {
		at = received.Add(original.Sub(sent))
	}
	if !timestamp.Equal(at) {
		t.Errorf("timestamp is %s, want %s: received %s, sent %s, original %s", timestamp, at, received, sent, original)
	}
	// One clock for all of them: a correction of more than a way through the machine is a mistake.
	if w.Sent && received.Sub(sent).Abs() > 20*time.Second {
		t.Errorf("sent_at is %s, received_at %s", sent, received)
	}
}

// compareMap compares the texts of a map's values, and numbers with the column
// beside it.
func (w *want) compareMap(t *testing.T, r row, column string) {
	wanted := map[string]map[string]json.RawMessage{
		"properties": w.Properties, "traits": w.Traits, "context": w.Context, "extra": w.Extra,
	}[column]
	got, numbers := r.texts(column), map[string]float64{}
	if column != "extra" {
		numbers = r.numbers(column + "_num")
	}
	for key, value := range wanted {
		text, ok := got[key]
		delete(got, key)
		switch {
		case !ok:
			t.Errorf("%s[%q] is not there, want %s", column, key, value)
		case !says(text, value):
			t.Errorf("%s[%q] is %q, want %s", column, key, text, value)
		}
		number, err := strconv.ParseFloat(string(value), 64)
		if err != nil || column == "extra" {
			continue
		}
		if n, ok := numbers[key]; !ok || n != number {
			t.Errorf("%s_num[%q] is %v (there: %v), want %s", column, key, n, ok, value)
		}
		delete(numbers, key)
	}
	for key, text := range got {
		t.Errorf("%s[%q] is %q, and nobody said so", column, key, text)
	}
	for key, n := range numbers {
		t.Errorf("%s_num[%q] is %v, and nobody said so", column, key, n)
	}
}

// says is whether a text in a map is that of a JSON value: that of a string
// itself, the same letters of a number, a word, or the same JSON.
func says(text string, value json.RawMessage) bool {
	var s string
	if json.Unmarshal(value, &s) == nil && string(value) != "null" {
		return s == "*" && text != "" || s == text
	}
	if value[0] != '{' && value[0] != '[' {
		return text == string(value)
	}
	return reflect.DeepEqual(parsed(value), parsed([]byte(text)))
}

func parsed(text []byte) (v any) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil || dec.More() {
		return fmt.Errorf("no JSON: %s: %w", text, err)
	}
	return v
}
