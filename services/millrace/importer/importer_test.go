package importer

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/millrace/millrace/libs/event"
	"github.com/millrace/millrace/services/millrace/client"
)

// ledger is a door that writes down what it was given. The way through a real
// installation is tested with the command; here it is about what is sent.
type ledger struct {
	mu       sync.Mutex
	events   map[string]string // by message id
	declared map[string]string // by idempotency key: reason and bytes
	refused  map[string]string // by idempotency key: bytes
	repeats  int
	seq      int
}

func newLedger() *ledger {
	return &ledger{events: map[string]string{}, declared: map[string]string{}, refused: map[string]string{}}
}

func (l *ledger) Post(_ context.Context, b client.Body) (client.Answer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	receipt := fmt.Sprintf("%d:%d", l.seq%2, l.seq)
	if b.Refused != "" {
		if _, again := l.declared[b.ID]; again {
			l.repeats++
		}
		l.declared[b.ID] = b.Refused + "|" + string(b.Data)
		return client.Answer{Rejected: []client.Rejected{{Reason: "declared"}}, Receipt: receipt}, nil
	}
	dec, err := zstd.NewReader(nil)
	if err != nil {
		return client.Answer{}, err
	}
	defer dec.Close()
	body, err := dec.DecodeAll(b.Data, nil)
	if err != nil {
		return client.Answer{}, err
	}
	a := client.Answer{Receipt: receipt}
	scanner, ev := event.NewScanner(event.DefaultLimits()), event.Event{}
	_, err = event.Split(body, true, func(i int, raw []byte, refusal *event.Refusal) error {
		if refusal == nil {
			refusal = scanner.Scan(raw, &ev)
		}
		if refusal != nil {
			a.Rejected = append(a.Rejected, client.Rejected{Index: i, Reason: string(refusal.Reason), Detail: refusal.Detail})
			l.refused[b.ID] = string(raw)
			return nil
		}
		a.Accepted++
		id := string(ev.MessageID)
		if id == "" {
			id = b.ID
		}
		if _, again := l.events[id]; again {
			l.repeats++
		}
		l.events[id] = string(raw)
		return nil
	})
	return a, err
}

func run(t *testing.T, l *ledger, format Format, stdin string, files ...string) Summary {
	t.Helper()
	sum, err := Run(t.Context(), Config{Format: format, Files: files, Stdin: strings.NewReader(stdin), Door: l, InFlight: 3})
	if err != nil {
		t.Fatal(err)
	}
	if sum.Lines != sum.Accepted+sum.Rejected+sum.Declared+sum.Unsendable {
		t.Errorf("the counts do not add up: %+v", sum)
	}
	return sum
}

// The sample has 201 lines: 198 of the format, three of them equal, one cut
// off, and one remark that is there twice.
func TestCombinedLogTwice(t *testing.T) {
	l := newLedger()
	sum := run(t, l, Combined, "", "testdata/access.log")
	if sum.Lines != 201 || sum.Accepted != 198 || sum.Declared != 3 || sum.Rejected != 0 {
		t.Errorf("first import: %+v", sum)
	}
	if len(l.events) != 198 || len(l.declared) != 3 || l.repeats != 0 {
		t.Errorf("%d events, %d refused, %d repeats; want 198, 3, 0", len(l.events), len(l.declared), l.repeats)
	}

	// The same lines under another name and compressed are the same events.
	text, err := os.ReadFile("testdata/access.log")
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	if _, err := zip.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "other.gz")
	if err := os.WriteFile(other, packed.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	again := run(t, l, Combined, "", other)
	if again.Lines != 201 || l.repeats != 201 || len(l.events) != 198 || len(l.declared) != 3 {
		t.Errorf("second import: %+v, %d repeats, %d events, %d refused", again, l.repeats, len(l.events), len(l.declared))
	}
	// And with another line end, from standard input.
	run(t, l, Combined, strings.ReplaceAll(string(text), "\n", "\r\n")+"\r\n\r\n", "-")
	if l.repeats != 402 || len(l.events) != 198 {
		t.Errorf("third import: %d repeats, %d events", l.repeats, len(l.events))
	}
}

func TestCombinedLineBecomesAnEvent(t *testing.T) {
	l := newLedger()
	run(t, l, Combined, `2001:db8::9 - ann [12/Oct/2024:10:00:08 +0200] "GET /a/b?x=1&y=<2> HTTP/1.1" 200 - "https://r.example/" "say \"hi\""`, "-")
	var got map[string]any
	for _, text := range l.events {
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatal(err)
		}
	}
	delete(got, "messageId")
	if got["anonymousId"] != visitor("2001:db8::9", `say "hi"`) {
		t.Errorf("anonymousId %v", got["anonymousId"])
	}
	delete(got, "anonymousId")
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	if err := json.Compact(&want, []byte(`{
	  "context": {"ip": "2001:db8::9", "page": {"path": "/a/b", "referrer": "https://r.example/", "search": "?x=1\u0026y=\u003c2\u003e", "url": "/a/b?x=1\u0026y=\u003c2\u003e"}, "userAgent": "say \"hi\""},
	  "event": "HTTP Request",
	  "properties": {"bytes": 0, "method": "GET", "path": "/a/b?x=1\u0026y=\u003c2\u003e", "protocol": "HTTP/1.1", "status": 200, "user": "ann"},
	  "timestamp": "2024-10-12T10:00:08+02:00",
	  "type": "track"}`)); err != nil {
		t.Fatal(err)
	}
	if string(text) != want.String() {
		t.Errorf("got  %s\nwant %s", text, want.String())
	}
}

func TestRefusedLineKeepsItsBytes(t *testing.T) {
	l := newLedger()
	sum := run(t, l, Combined, "no\xffise\x00\n", "-")
	if len(l.declared) != 1 {
		t.Fatalf("declared %v", l.declared)
	}
	for _, d := range l.declared {
		if want := "not a combined log line: bytes that are not UTF-8 at column 3|no\xffise\x00"; d != want {
			t.Errorf("declared %q, want %q", d, want)
		}
	}
	if len(sum.Refusals) != 1 || sum.Refusals[0].At != "-:1" {
		t.Errorf("refusals %+v", sum.Refusals)
	}
}

func TestNDJSON(t *testing.T) {
	l := newLedger()
	input := strings.Join([]string{
		`{"userId":"u","event":"a"}`,
		`{"userId":"u","event":"a"}`, // an equal line is an event of its own
		`{"messageId":"mine","userId":"u","event":"a"}`,
		`  { "userId":"u","event":"b","properties":{"messageId":"not this one"}}`,
		`{"userId":"u","messageId":null,"event":"c"}`,
		``,
		`{}`,                  // no user
		`[1]`,                 // no object
		`{"userId":"u"`,       // broken
		`{"event":"no user"}`, // nor here
	}, "\n")
	sum := run(t, l, NDJSON, input, "-")
	if sum.Lines != 9 || sum.Accepted != 5 || sum.Rejected != 4 || sum.Declared != 0 {
		t.Errorf("%+v", sum)
	}
	if sum.Receipt == "" {
		t.Error("no receipt")
	}
	if _, ok := l.events["mine"]; !ok {
		t.Error("a message id of the line's own was not kept")
	}
	var refused []string
	for _, r := range sum.Refusals {
		code, _, _ := strings.Cut(r.Reason, ":")
		refused = append(refused, r.At+" "+code)
	}
	want := []string{"-:7 no_user", "-:8 not_an_object", "-:9 malformed", "-:10 no_user"}
	if !slices.Equal(refused, want) {
		t.Errorf("refusals %q\nwant     %q", refused, want)
	}
	run(t, l, NDJSON, input, "-")
	if len(l.events) != 5 || len(l.refused) != 4 || l.repeats != 5 {
		t.Errorf("second import: %d events, %d refused, %d repeats; want 5, 4, 5", len(l.events), len(l.refused), l.repeats)
	}
}

func TestLongLines(t *testing.T) {
	l := newLedger()
	over := strings.Repeat("x", maxLine+1)
	large := `{"userId":"u","event":"` + strings.Repeat("y", 40_000) + `"}`
	sum := run(t, l, NDJSON, over+"\n"+large+"\n"+`{"userId":"u","event":"z"}`, "-")
	if sum.Lines != 3 || sum.Unsendable != 1 || sum.Rejected != 1 || sum.Accepted != 1 {
		t.Errorf("%+v", sum)
	}
}

func TestDamagedFileIsNamedAndItsWholeLinesGoIn(t *testing.T) {
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	for i := range 50_000 {
		fmt.Fprintf(zip, `{"userId":"u","event":"e","properties":{"n":%d}}`+"\n", i*7919%50_000)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut.gz")
	if err := os.WriteFile(cut, packed.Bytes()[:packed.Len()*2/3], 0o600); err != nil {
		t.Fatal(err)
	}
	l := newLedger()
	sum, err := Run(t.Context(), Config{Format: NDJSON, Files: []string{cut}, Door: l, InFlight: 2})
	if err == nil || !strings.Contains(err.Error(), cut) {
		t.Errorf("error %v, want one that names %s", err, cut)
	}
	if sum.Lines == 0 || sum.Accepted != sum.Lines || len(l.events) != sum.Lines {
		t.Errorf("%+v, %d events", sum, len(l.events))
	}
}

func FuzzNDJSON(f *testing.F) {
	f.Add([]byte(`{"userId":"u","event":"a"}`))
	f.Add([]byte(` { "anonymousId":"u","type":"page"} `))
	f.Add([]byte(`{"userId":"u","messageId":"","event":"a"}`))
	f.Add([]byte(`{"a":{"messageId":1}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		scanner, ev := event.NewScanner(event.DefaultLimits()), event.Event{}
		refused := scanner.Scan(line, &ev) != nil
		own := string(ev.MessageID)
		out, alone := newNDJSON().convert(line, "id")
		if alone {
			if !bytes.Equal(line, out) {
				t.Fatalf("%q travels alone and became %q", line, out)
			}
			return
		}
		if refused {
			t.Fatalf("%q is refused and does not travel alone", line)
		}
		if r := scanner.Scan(out, &ev); r != nil {
			t.Fatalf("%q became %q: %v", line, out, r)
		}
		if want := cmp.Or(own, "id"); string(ev.MessageID) != want {
			t.Fatalf("%q became %q, its id is %q, want %q", line, out, ev.MessageID, want)
		}
	})
}
