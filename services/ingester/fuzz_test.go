package ingester

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/millrace/millrace/libs/event/frame"
)

// FuzzEvents sends bodies through all of the HTTP door up to the packed frame
// and reads the frames back: what the answer says is what the frames hold, and
// a body that is turned away leaves nothing.
func FuzzEvents(f *testing.F) {
	for _, body := range []string{
		"", "null", "[]", `"x"`, good("u", 1), "[" + good("u", 1) + ",null]", good("u", 1) + "\n{\n" + good("v", 2), "[[[[", "\xff\x00",
		`{"event":"e","userId":"u","properties":{"a.b":1,"a":{"b":2},"n":1e400}}`, `{"user_id":"u","event_type":"e","event_data":{}}`,
		gzipped(f, good("u", 1)), zstded(f, "["+good("u", 1)+"]"), "\x1f\x8b", "\x28\xb5\x2f\xfd",
	} {
		f.Add([]byte(body), "", "", "")
		f.Add([]byte(body), "application/x-ndjson", "", "key")
		f.Add([]byte(body), "text/plain", "gzip", "")
	}
	d := memoryDoor(f, 3, func(c *Config) { c.FrameBytes = 2_000; c.FrameEvents = 5 })
	f.Fuzz(func(t *testing.T, body []byte, contentType, encoding, key string) {
		r := httptest.NewRequest("POST", pathEvents, bytes.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		r.Header.Set("Content-Encoding", encoding)
		q := asked{r: r, from: origin{door: doorHTTP, source: "shop", ndjson: isNDJSON(contentType), key: key}}
		h, err := d.store(&q)
		rows := d.drained(t)
		if err != nil {
			if len(rows) != 0 {
				t.Fatalf("turned away with %v, but %d rows are stored", err, len(rows))
			}
			if p := problemOf(err); p.Status < 400 || p.Status == 429 || p.Status > 499 {
				t.Fatalf("a body is answered with %d: %v", p.Status, err)
			}
			return
		}
		done := <-h.done
		if done.err != nil {
			t.Fatal(done.err)
		}
		var a answer
		text := closeAnswer(h.answer, done.receipt.String())
		if err := json.Unmarshal(text, &a); err != nil || !utf8.Valid(text) {
			t.Fatalf("answer %q: %v", text, err)
		}
		refused := slices.DeleteFunc(slices.Clone(rows), func(r rawRow) bool { return r.Reason == "" })
		if a.Accepted+len(a.Rejected) != len(rows) || len(a.Rejected) != len(refused) {
			t.Fatalf("answer %s, stored %d rows, %d of them refused", text, len(rows), len(refused))
		}
		if used := d.budget.used.Load(); used != 0 {
			t.Fatalf("%d bytes are not given back", used)
		}
		if encodingOf(encoding, body) == "" {
			for _, row := range rows {
				if !bytes.Contains(body, []byte(row.Body)) {
					t.Fatalf("row %q is no part of the body", row.Body)
				}
			}
		}
		for _, row := range refused {
			if len(row.ID) != idLen {
				t.Fatalf("refused without an id: %+v", row)
			}
		}
	})
}

// drained finishes all frames of a door without NATS and returns their rows.
func (d *door) drained(t *testing.T) (rows []rawRow) {
	view := frame.NewView(frame.RawSchema)
	for _, l := range d.lanes {
		for seq := uint64(1); ; seq++ {
			l.mu.Lock()
			if l.open != nil {
				l.seal()
			}
			l.mu.Unlock()
			p, _, _ := l.next(time.Now)
			if p == nil {
				break
			}
			native, err := frame.Unpack(nil, frame.Pack(nil, p.block.AppendNative(nil)))
			if err != nil {
				t.Fatal(err)
			}
			if err := view.Parse(native); err != nil {
				t.Fatal(err)
			}
			if view.Rows() == 0 || view.Rows() > l.frameEvents || (view.Rows() > 1 && p.block.Size() > l.frameBytes) {
				t.Fatalf("a frame of %d rows and %d bytes", view.Rows(), p.block.Size())
			}
			for i := range view.Rows() {
				rows = append(rows, rawRow{
					Shard: l.shard, Seq: seq, ID: string(view.Str(frame.RawEventID, i)),
					SentAt: view.Millis(frame.RawSentAt, i),
					Reason: string(view.Str(frame.RawReason, i)), Body: string(view.Str(frame.RawBody, i)),
				})
			}
			l.finish(p, seq, nil)
		}
	}
	return rows
}

func TestDeclaredReasonsArePrintable(t *testing.T) {
	for given, want := range map[string]string{
		"":                             "",
		" line 3 ":                     "line 3",
		"a\tb\x7fc":                    "a b c",
		"\xff":                         "\uFFFD",
		strings.Repeat("é", 300):       strings.Repeat("é", 256),
		"x" + strings.Repeat("é", 300): "x" + strings.Repeat("é", 255),
	} {
		if got := declared(given); got != want {
			t.Errorf("%q: %q, want %q", given, got, want)
		}
	}
}
