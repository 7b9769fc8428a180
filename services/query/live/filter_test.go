package live

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/libs/event/frame"
)

// sample is one event; what is left out is absent. A value of properties is text, or a number.
type sample struct {
	source, name, user, url string
	bot                     bool
	at                      time.Time
	properties              map[string]any
	extra                   map[string]string
}

// native writes rows as the enricher does.
func native(shard int, seq uint64, samples ...sample) []byte {
	b := frame.NewBlock(frame.RowSchema)
	for i, s := range samples {
		for c, col := range frame.Columns {
			switch {
			case c == frame.ColIdx:
				b.U32(c, uint32(i))
			case c == frame.ColShard:
				b.U16(c, uint16(shard))
			case c == frame.ColSeq:
				b.U64(c, seq)
			case c == frame.ColIsBot:
				b.Bool(c, s.bot)
			case c == frame.ColTimestamp:
				b.Millis(c, s.at.UnixMilli())
			case c == frame.ColProperties:
				for k, v := range s.properties {
					text, ok := v.(string)
					if !ok {
						text = string(v.(json.Number))
					}
					b.Entry(c, []byte(k), []byte(text))
				}
			case c == frame.ColPropertiesNum:
				for k, v := range s.properties {
					if n, ok := v.(json.Number); ok {
						f, _ := n.Float64()
						b.FloatEntry(c, []byte(k), f)
					}
				}
			case c == frame.ColExtra:
				for k, v := range s.extra {
					b.Entry(c, []byte(k), []byte(v))
				}
			case strings.HasPrefix(col.Type, "DateTime64"):
				b.Millis(c, 0)
			case col.Type == "String":
				b.Text(c, map[int]string{
					frame.ColSource: s.source, frame.ColType: "track", frame.ColEvent: s.name, frame.ColUserID: s.user, frame.ColURL: s.url,
				}[c])
			}
		}
		b.EndRow()
	}
	return b.AppendNative(nil)
}

func rowOf(t *testing.T, s sample) row {
	t.Helper()
	v := frame.NewView(frame.RowSchema)
	if err := v.Parse(native(1, 7, s)); err != nil {
		t.Fatal(err)
	}
	return row{v, 0}
}

var order1 = sample{
	source: "web", name: "Order Completed", user: "ada", url: "https://shop.example/Checkout?x=1",
	at:         time.Date(2026, 11, 23, 12, 0, 0, 5e6, time.UTC),
	properties: map[string]any{"total": json.Number("129.50"), "plan": "pro", "zip": "01234", "gift": "true", "the key": "v", "n": json.Number("-3")},
	extra:      map[string]string{"tenant": "t1"},
}

func TestFilter(t *testing.T) {
	x := rowOf(t, order1)
	for text, want := range map[string]bool{
		"":                                  true,
		"  ":                                true,
		"true":                              true,
		"not true":                          false,
		`event == "Order Completed"`:        true,
		`"Order Completed" == event`:        true,
		`event != "Order Completed"`:        false,
		`event == "order completed"`:        false,
		`lower(event) == "order completed"`: true,
		`upper(properties.plan) == "PRO"`:   true,
		`source in ["app", "web"]`:          true,
		`source not in ["app", "web"]`:      false,
		`properties.n in [1, -3]`:           true,
		`properties.total > 100 and properties.total < 130`:    true,
		`100 < properties.total`:                               true,
		`200 < properties.total`:                               false,
		`100 < properties.total < 129`:                         false,
		`properties.total == 129.5`:                            true,
		`properties.total == "129.50"`:                         true, // its text
		`properties.zip == "01234"`:                            true,
		`properties.zip == 1234`:                               false, // it is no number
		`properties.zip != 1234`:                               true,
		`properties.gift == true`:                              true,
		`properties.gift == false`:                             false,
		`properties["the key"] == "v"`:                         true,
		`properties?.plan == "pro"`:                            true,
		`properties.none > 1`:                                  false,
		`not (properties.none > 1)`:                            true,
		`properties.none != "x"`:                               true,
		`properties.none == nil`:                               true,
		`properties.plan != nil`:                               true,
		`"plan" in properties`:                                 true,
		`"none" in properties`:                                 false,
		`"none" not in properties`:                             true,
		`extra.tenant == "t1"`:                                 true,
		`anonymous_id == nil`:                                  true,
		`anonymous_id == ""`:                                   true,
		`url contains "checkout"`:                              false,
		`lower(url) contains "checkout"`:                       true,
		`url startsWith "https://" && url endsWith "x=1"`:      true,
		`url matches "^https://[a-z.]+/Check"`:                 true,
		`url not matches "^http:"`:                             true,
		`is_bot`:                                               false,
		`!is_bot`:                                              true,
		`is_bot || user_id == "ada"`:                           true,
		`_shard == 1 and _seq >= 7 and _idx == 0`:              true,
		`timestamp > "2026-11-23T12:00:00Z"`:                   true,
		`timestamp > "2026-11-23T13:00:00+01:00"`:              true,
		`timestamp <= "2026-11-23T12:00:00.005Z"`:              true,
		`timestamp >= "2026-11-23T12:00:01Z"`:                  false,
		`properties.plan == user_id`:                           false,
		`properties.total > properties.n`:                      true,
		`properties.none == user_id or event contains "Order"`: true,
	} {
		f, err := CompileFilter(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := f.match(x); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

// TestFilterRefused: what is wrong is found when the filter is read, and said with its place; nothing that could cost more
// than a look at the event's own text is let through.
func TestFilterRefused(t *testing.T) {
	for text, want := range map[string]string{
		"event ==":                    "unexpected token",
		"evnt == \"x\"":               "no column evnt",
		"event":                       "neither true nor false",
		"properties.gift":             "neither true nor false",
		"event == 3":                  "not of one kind",
		"properties == \"x\"":         "has keys",
		"properties.a.b == 1":         "JSON text",
		"properties[event] == 1":      "must be a text constant",
		"event.x == 1":                "has no keys",
		"1 == 1":                      "two constants",
		"is_bot == true":              "by itself",
		"event in [user_id]":          "holds constants",
		"event in properties":         "in takes",
		"event contains user_id":      "text constant",
		"url matches \"(\"":           "the pattern cannot be read",
		"url matches \"(a{30}){30}\"": "too large",
		"url matches \"" + strings.Repeat("(x{90})", 20) + "\"": "too large",
		"timestamp > \"yesterday\"":                             "want a time",
		"timestamp > 5":                                         "not of one kind",
		"all(1..1000000, # > 0)":                                "neither true nor false",
		"len(1..1000000) == 5":                                  "functions lower and upper",
		"repeat(url, 1000000) == \"x\"":                         "functions lower and upper",
		"let x = url + url; x == \"a\"":                         "neither true nor false",
		"url + url == \"a\"":                                    "neither a column",
		"event == \"a\" ? true : false":                         "neither true nor false",
		"properties.total * 2 > 3":                              "neither a column",
		"env(\"HOME\") == \"x\"":                                "functions lower and upper",
		"$env.event == \"x\"":                                   "has no keys",
		strings.Repeat("not ", 250) + "is_bot":                  "maximum allowed nodes",
		"event == \"" + strings.Repeat("x", maxFilter) + "\"":   "the most is 2048",
	} {
		f, err := CompileFilter(text)
		if !errors.Is(err, ErrFilter) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", text, err, want)
		}
		if f.test != nil {
			t.Errorf("%.60s: there is a test all the same", text)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%.60s: the error has lines: %v", text, err)
		}
	}
}

// FuzzFilter: no text breaks the compiler, and what it takes can be run.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{`event == "a"`, `properties.a > 1 and not (b in ["x"])`, `lower(url) matches "^a+$"`, `a?.b ?? c`, `{a: 1}`, `[1..3]`, "\x00", `"\u{zz}"`, `#`, `x | all(#)`} {
		f.Add(s)
	}
	v := frame.NewView(frame.RowSchema)
	if err := v.Parse(native(1, 7, order1)); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := CompileFilter(text); err == nil {
			c.match(row{v, 0})
		} else if !errors.Is(err, ErrFilter) {
			t.Error(err)
		}
	})
}

func TestEvent(t *testing.T) {
	x := rowOf(t, sample{
		source: "web", name: "Say \"hi\"\n\x01\\ \xff ü", user: "ada", at: time.UnixMilli(1763899200005), bot: true,
		properties: map[string]any{"total": json.Number("1e2")}, extra: map[string]string{"a": "1"},
	})
	got := string(appendEvent(nil, 1, 7, x))
	want := `{"receipt":"1:7","idx":0,"source":"web","type":"track","event":"Say \"hi\"\n\u0001\\ ` + "\ufffd" + ` ü","user_id":"ada",` +
		`"timestamp":"2025-11-23T12:00:00.005Z","is_bot":true,"properties":{"total":1e2},"extra":{"a":"1"}}`
	if got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if !json.Valid([]byte(got)) {
		t.Error("it is not JSON")
	}
}

func TestPosition(t *testing.T) {
	for text, next := range map[string][2]uint64{"0:41,1:7.3": {7, 4}, "1:7": {8, 0}, "1:0": {1, 0}, "0:41,1:7.0": {7, 1}} {
		p, named, err := parsePosition(text, 2)
		if err != nil || !named[1] {
			t.Errorf("%s: %v %v", text, named, err)
			continue
		}
		if seq, idx := p[1].next(); seq != next[0] || uint64(idx) != next[1] {
			t.Errorf("%s: next is %d.%d, want %v", text, seq, idx, next)
		}
		if named[0] && p.String() != text {
			t.Errorf("%s is written as %s", text, p)
		}
	}
	for _, text := range []string{"x", "0", "0:", "0:x", "2:1", "-1:1", "in:5", "0:1,0:2", "0:1.", "0:1.x", "0:1.-1", "0:99999999999999999999", "0:1,"} {
		if p, _, err := parsePosition(text, 2); !errors.Is(err, ErrPosition) {
			t.Errorf("%s: %v %v", text, p, err)
		}
	}
}

func TestSplice(t *testing.T) {
	for sql, want := range map[string]string{
		"SELECT count() FROM new_events":              "WITH new_events AS (SELECT * FROM events WHERE %s) SELECT count() FROM new_events",
		" -- a\n/* b */ select 5 % 2 FROM new_events": "WITH new_events AS (SELECT * FROM events WHERE %s) SELECT 5 %% 2 FROM new_events",
		"WITH x AS (SELECT 1) SELECT 1":               "WITH new_events AS (SELECT * FROM events WHERE %s),  x AS (SELECT 1) SELECT 1",
		"with recursive x AS (SELECT 1) SELECT 1":     "WITH RECURSIVE new_events AS (SELECT * FROM events WHERE %s),  x AS (SELECT 1) SELECT 1",
	} {
		got, err := splice(sql)
		if !strings.EqualFold(got, want) || err != nil {
			t.Errorf("%s:\n%s\n%s, %v", sql, got, want, err)
		}
	}
	for _, sql := range []string{"INSERT INTO x SELECT * FROM new_events", "EXPLAIN SELECT * FROM new_events", "SELECTED", "", "/* SELECT"} {
		if got, err := splice(sql); err == nil {
			t.Errorf("%s: %s", sql, got)
		}
	}
	a, b := position{{3, whole}, {0, whole}, {9, whole}}, position{{3, whole}, {2, whole}, {12, whole}}
	if got := between(a, b); got != "(_shard = 1 AND _seq BETWEEN 1 AND 2) OR (_shard = 2 AND _seq BETWEEN 10 AND 12)" {
		t.Error(got)
	}
	if got := between(a, a); got != "0" {
		t.Error(got)
	}
}
