package enricher

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/libs/event"
	"github.com/millrace/millrace/libs/event/frame"
	examples "github.com/millrace/millrace/schemas/event"
)

func track(id, user string) string {
	return fmt.Sprintf(`{"event":"Viewed","messageId":%q,"userId":%q}`, id, user)
}

func TestVerdictCountsEveryEvent(t *testing.T) {
	m := newTestMill(1 << 20)
	_, v := enriched(t, m, &rawFrame{seq: 1, received: received, body: rawBody(
		sent{body: track("a", "u")},
		sent{body: track("a", "u")},                 // again in the same frame
		sent{body: track("a", "u"), source: "blog"}, // another source's id
		sent{body: "no json", reason: "malformed", detail: "at byte 0"},
		sent{body: "no json", reason: "malformed", id: "k1"},
		sent{body: `{"event":"x"}`},
		sent{body: track("b", "u"), id: "k2"},
	)})
	if want := `{"in":7,"rows":3,"repeats":1,"refused":[{"first":3,"count":2,"stage":"door","reason":"malformed"},{"first":5,"count":1,"stage":"enricher","reason":"no_user","detail":"neither userId nor anonymousId"}]}`; frame.Encode(&v) != want {
		t.Errorf("%s\nwant %s", frame.Encode(&v), want)
	}
	_, v = enriched(t, m, &rawFrame{seq: 2, received: received, body: rawBody(
		sent{body: "no json", reason: "malformed", id: "k1"}, // an idempotency key sent again
		sent{body: "no json", reason: "malformed"},
		sent{body: track("b", "other")},
		sent{body: track("", "u"), id: "k2"}, // k2 was not b's id
	)})
	if v.Repeats != 2 || v.Dead() != 1 || v.Rows != 1 {
		t.Errorf("second frame: %+v", v)
	}
}

func TestAFrameThatCannotBeReadIsCountedAndDead(t *testing.T) {
	m := newTestMill(1 << 20)
	whole := rawBody(sent{body: track("a", "u")})
	for name, f := range map[string]rawFrame{
		"cut":       {body: whole[:len(whole)/2], events: 7},
		"empty":     {body: nil, events: 7},
		"no header": {body: []byte("?"), events: -1},
		"boast":     {body: []byte("?"), events: 1 << 40},
		"enriched":  {body: m.lost(nil), events: 7}, // the other schema
	} {
		want := map[string]int{"no header": 1, "boast": maxEvents}[name]
		if want == 0 {
			want = 7
		}
		view, v := enriched(t, m, &f)
		if !v.Undecodable || v.In != want || v.Dead() != want || view.Rows() != 0 || v.Refused[0].Reason != string(event.ReasonUndecodable) {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

func TestAPanicRefusesItsEventAndNoOther(t *testing.T) {
	m := newTestMill(1 << 20)
	m.steps = nil // the steps dereference it
	body := rawBody(sent{body: track("a", "u"), agent: "Mozilla/5.0"}, sent{body: "x", reason: "malformed"})
	_, v := enriched(t, m, &rawFrame{seq: 1, received: received, body: body})
	if v.Dead() != 2 || v.Refused[0].Reason != string(event.ReasonPanic) || v.Refused[0].Stage != stageEnricher || v.Refused[0].Detail == "" {
		t.Errorf("%+v", v)
	}
	m.steps = newSteps()
	if _, v = enriched(t, m, &rawFrame{seq: 2, received: received, body: rawBody(sent{body: track("a", "u"), agent: "Mozilla/5.0"}, sent{body: track("b", "u"), agent: "Mozilla/5.0"})}); v.Repeats != 1 || v.Rows != 1 {
		t.Errorf("after the panic: %+v", v)
	}
}

func TestADeadlyEventIsNeverRead(t *testing.T) {
	m := newTestMill(1 << 20)
	m.deadly = map[place]bool{{7, 1}: true}
	m.scanner = nil // reading anything would panic
	f := &rawFrame{seq: 7, received: received, body: rawBody(sent{body: "a"}, sent{body: "b", id: "k"})}
	var asked []int
	_, v := m.enrich(f, nil, func(idx int) { asked = append(asked, idx) })
	if v.Dead() != 2 || v.Refused[0].Reason != string(event.ReasonPanic) || v.Refused[1].Reason != string(event.ReasonCrash) {
		t.Errorf("%+v", v)
	}
	if fmt.Sprint(asked) != "[0]" {
		t.Errorf("announced %v", asked)
	}
	if !m.seen.repeat([]byte("shop"), []byte("k")) {
		t.Error("the door's id of a deadly event is not in the window")
	}
}

func TestAVerdictWithThousandsOfRefusalsFitsItsHeader(t *testing.T) {
	m := newTestMill(8 << 20)
	var events []sent
	for i := range 8000 {
		events = append(events, sent{body: []string{`{}`, `1`, `{"event":"x","userId":"u"}`, `{"a"`}[i%4]})
	}
	_, v := enriched(t, m, &rawFrame{seq: 1, received: received, body: rawBody(events...)})
	if n := len(frame.Encode(&v)); n > maxVerdict {
		t.Errorf("the verdict takes %d bytes", n)
	}
	if v.Dead() != 6000 || v.Rows != 2000 {
		t.Errorf("%d dead, %d rows", v.Dead(), v.Rows)
	}
}

func TestAFrameTooLargeForAMessageLosesItsLargestEvents(t *testing.T) {
	const payload = 64 << 10
	m := newTestMill(payload)
	r := rand.New(rand.NewPCG(1, 1))
	noise := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = 'a' + byte(r.IntN(26))
		}
		return string(b)
	}
	var events []sent
	for i := range 40 {
		size := 100
		if i%4 == 0 {
			size = 8000
		}
		events = append(events, sent{body: fmt.Sprintf(`{"event":"x","messageId":"%d","userId":"u","properties":{"p":%q}}`, i, noise(size))})
	}
	body, v := m.enrich(&rawFrame{seq: 1, received: received, body: rawBody(events...)}, nil, nil)
	view := decodeRows(t, body, &v)
	if len(body)+len(frame.Encode(&v)) > payload {
		t.Errorf("%d bytes do not fit %d", len(body), payload)
	}
	small := 0
	for row := range view.Rows() {
		if view.U32(frame.ColIdx, row)%4 != 0 {
			small++
		}
	}
	if small != 30 || v.Dead() == 0 || v.Refused[0].Reason != string(event.ReasonTooLarge) {
		t.Errorf("%d small events are left, verdict %+v", small, v)
	}
}

// randomEvent is an event that the scanner accepts, of a shape that makes much
// out of little.
func randomEvent(r *rand.Rand) string {
	word := func(n int) string {
		return strings.Repeat(string(rune('a'+r.IntN(26))), r.IntN(n+1))
	}
	fields := func(n int) map[string]any {
		m := map[string]any{}
		for range r.IntN(n + 1) {
			k := fmt.Sprintf("%s%d", word(3), r.IntN(90))
			m[k] = []any{1, nil, true, word(30), 1.5, []int{1, 2}, map[string]any{"x": word(9)}}[r.IntN(7)]
		}
		return m
	}
	query := ""
	for _, p := range []string{"utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content"} {
		if r.IntN(2) == 0 {
			query += "&" + p + "=" + word(200) + "%20"
		}
	}
	url := "https://" + strings.ToUpper(word(60)) + ".example/" + word(200) + "?" + query
	ctx := fields(20)
	ctx["userAgent"] = []string{"curl/8", "x", "Mozilla/5.0 (" + word(300) + ") Gecko " + word(200) + "/1", word(500)}[r.IntN(4)]
	ctx["page"] = map[string]any{"url": url, "referrer": url, "title": word(50)}
	e := map[string]any{
		"type": []string{"page", "track", "identify"}[r.IntN(3)], "event": "e", "userId": "u", "messageId": fmt.Sprint(r.Uint64()),
		"properties": fields(60), "traits": fields(60), "context": ctx,
	}
	if r.IntN(2) == 0 {
		e["properties"] = map[string]any{"url": url, "path": word(99), "referrer": url, "title": word(99)}
	}
	for k, v := range fields(10) {
		e["f"+k] = v
	}
	text, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// What enrichment may add, by which the door caps its frames: a row is at most
// growth times its event and its door's findings, and rowConst bytes.
const (
	growth    = 8
	rowConst  = 1024
	frameRoom = 4096 // names and types of the columns
)

func TestEnrichmentAddsABoundedAmount(t *testing.T) {
	m := newTestMill(64 << 20)
	worst := 0.0
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 3))
		var events []sent
		for range 1 + r.IntN(5) {
			events = append(events, sent{body: randomEvent(r), ip: "203.0.113.9", agent: "Mozilla/5.0 " + strings.Repeat("a", r.IntN(300))})
		}
		for _, e := range examples.Valid() {
			if r.IntN(20) == 0 {
				events = append(events, sent{body: string(e.JSON), id: "door"})
			}
		}
		size := 0
		for _, e := range events {
			size += len(e.body) + len(e.ip) + len(e.agent) + len(e.id)
		}
		_, v := enriched(t, m, &rawFrame{seq: seed + 1, received: received, body: rawBody(events...)})
		if v.Rows == 0 {
			t.Fatalf("seed %d: %+v", seed, v)
		}
		if got, most := len(m.native), growth*size+rowConst*v.Rows+frameRoom; got > most {
			t.Errorf("seed %d: %d bytes became %d, at most %d", seed, size, got, most)
		}
		worst = max(worst, float64(len(m.native)-rowConst*v.Rows-frameRoom)/float64(size))
	}
	t.Logf("worst growth: %.2f", worst)
}

func TestBoundOfWhatIsMadeOfTheSmallestNumbers(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"event":"e","userId":"u","properties":{`)
	for i := range 900 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"%x":1`, i)
	}
	b.WriteString(`}}`)
	m := newTestMill(64 << 20)
	if _, v := enriched(t, m, &rawFrame{seq: 1, received: received, body: rawBody(sent{body: b.String()})}); v.Rows != 1 {
		t.Fatalf("%+v", v)
	}
	if got, most := len(m.native), growth*b.Len()+rowConst+frameRoom; got > most {
		t.Errorf("%d bytes became %d, at most %d", b.Len(), got, most)
	}
}

func TestTwoOwnersCountTheSame(t *testing.T) {
	a, b := newTestMill(1<<20), newTestMill(1<<20)
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 4))
		var events []sent
		for range 20 {
			events = append(events, sent{body: randomEvent(r)}, sent{body: track(fmt.Sprint(r.IntN(100)), "u")})
		}
		f := &rawFrame{seq: seed + 1, received: received.Add(time.Duration(seed) * time.Second), body: rawBody(events...)}
		one, v := a.enrich(f, nil, nil)
		two, w := b.enrich(f, nil, nil)
		if !bytes.Equal(one, two) || frame.Encode(&v) != frame.Encode(&w) {
			t.Fatalf("frame %d: two owners differ: %+v %+v", f.seq, v, w)
		}
	}
}

func FuzzEnrichFrame(f *testing.F) {
	for _, e := range examples.Valid() {
		f.Add(rawBody(sent{body: string(e.JSON)}), e.JSON, "Mozilla/5.0 (X11; Linux x86_64)", "")
	}
	for _, e := range examples.Invalid() {
		f.Add(rawBody(sent{body: string(e.JSON), reason: e.Reason}), e.JSON, "", "malformed")
	}
	f.Add([]byte{}, []byte(`{"event":"x","userId":"u","context":{"userAgent":"GPTBot/1.0","page":{"url":"//[::1]?utm_source=%"}}}`), "", "x.*")
	f.Fuzz(func(t *testing.T, body, one []byte, agent, reason string) {
		m := newTestMill(1 << 20)
		_, v := enriched(t, m, &rawFrame{seq: 1, received: received, events: 3, body: body})
		if v.In < 0 || v.In > maxEvents {
			t.Fatalf("%+v", v)
		}
		_, v = enriched(t, m, &rawFrame{seq: 2, received: received, body: rawBody(
			sent{body: string(one), agent: agent, id: "k"}, sent{body: string(one), agent: agent, reason: reason})})
		if v.In != 2 || v.Undecodable {
			t.Fatalf("%+v", v)
		}
		for _, r := range v.Refused {
			if r.Reason == string(event.ReasonPanic) {
				t.Fatalf("it panicked: %s", r.Detail)
			}
			if strings.ContainsAny(r.Reason, " .*>") || r.Reason == "" {
				t.Fatalf("reason %q is no token", r.Reason)
			}
		}
	})
}

func BenchmarkEnrichFrame(b *testing.B) {
	const perFrame = 100
	m := newTestMill(1 << 20)
	m.seen = newDedup(newDedupKey(), time.Hour, 64<<20)
	bodies := make([][]byte, 64)
	size := 0
	for n := range bodies {
		var events []sent
		for i := range perFrame {
			e := sent{body: benchEvent(n*perFrame + i), ip: "203.0.113.9"}
			size += len(e.body)
			events = append(events, e)
		}
		bodies[n] = rawBody(events...)
	}
	var out []byte
	f := &rawFrame{received: received}
	b.ReportAllocs()
	b.SetBytes(int64(size / len(bodies)))
	for n := 0; b.Loop(); n++ {
		f.seq, f.body = uint64(n+1), bodies[n%len(bodies)]
		// Ids occur again after 64 frames; the window is over by then, so that
		// every event gets its row.
		f.received = f.received.Add(time.Minute)
		out, _ = m.enrich(f, out, nil)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/perFrame, "ns/event")
}

func benchEvent(i int) string {
	return fmt.Sprintf(`{"type":"track","event":"Product Viewed","messageId":"ajs-next-1772357460000-%08x","anonymousId":"4f5b2d1c-91f0-4d1a-8c46-%012x","timestamp":"2026-03-01T09:31:00.000Z","sentAt":"2026-03-01T09:31:00.120Z","context":{"ip":"203.0.113.%d","locale":"en-GB","userAgent":"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%d.0.0.0 Safari/537.36","page":{"url":"https://shop.example/product/%d?utm_source=news&utm_medium=email","path":"/product/%d","referrer":"https://news.example/","title":"Product %d"}},"properties":{"product_id":"p-%d","price":%d.5,"currency":"EUR","quantity":%d,"category":"shoes"}}`,
		i, i*7919, i%250, 100+i%40, i%500, i%500, i%500, i%500, i%90, i%5)
}
