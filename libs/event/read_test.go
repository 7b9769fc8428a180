package event

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	examples "github.com/millrace/millrace/schemas/event"
)

// FuzzRead holds Read to what Split and Scan say of the same body.
func FuzzRead(f *testing.F) {
	var all [][]byte
	for _, x := range append(examples.Valid(), examples.Invalid()...) {
		f.Add(x.JSON, false)
		all = append(all, x.JSON)
	}
	for _, form := range []string{
		"[%s]", "[%s,%s]", " [ %s , %s ] ", "[%s,{]", "[%s %s]", "%s%s", "%s\n%s", "[%s]x", "\xEF\xBB\xBF[%s]", "[[%s]]", `[1,"a",%s,null]`, "[%s,]", "%s}", "",
	} {
		f.Add([]byte(fill(form, benchEvent)), false)
		f.Add([]byte(fill(form, benchEvent)), true)
		f.Add([]byte(fill(form, string(all[len(all)-1]))), false)
	}
	limits := DefaultLimits()
	limits.MaxRequest, limits.MaxEvent, limits.MaxEvents = 8<<10, 1<<10, 6
	reader := NewReader(limits)
	splitter, scanner := NewSplitter(limits), NewScanner(limits)
	f.Fuzz(func(t *testing.T, body []byte, ndjson bool) {
		var got, want []string
		n, err := reader.Read(body, ndjson, func(i int, raw []byte, e *Event, r *Refusal) error {
			got = append(got, piece(i, raw, e, r))
			return nil
		})
		wantN, wantErr := splitter.Split(body, ndjson, func(i int, raw []byte, r *Refusal) error {
			e := new(Event)
			if r == nil {
				r = scanner.Scan(raw, e)
			}
			want = append(want, piece(i, raw, e, r))
			return nil
		})
		if fmt.Sprint(err) != fmt.Sprint(wantErr) || n != wantN {
			t.Fatalf("%d events, error %v; want %d, %v", n, err, wantN, wantErr)
		}
		if err == nil && strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

// fill puts text into every place of form.
func fill(form, text string) string { return strings.ReplaceAll(form, "%s", text) }

func piece(i int, raw []byte, e *Event, r *Refusal) string {
	if r != nil {
		return fmt.Sprintf("%d %q refused %v", i, raw, *r)
	}
	return fmt.Sprintf("%d %q %s", i, raw, render(e))
}

func TestReadStopsWithTheErrorOfItsReceiver(t *testing.T) {
	stop := errors.New("enough")
	n, err := NewReader(DefaultLimits()).Read([]byte("["+benchEvent+","+benchEvent+"]"), false, func(i int, _ []byte, _ *Event, _ *Refusal) error {
		if i == 1 {
			return stop
		}
		return nil
	})
	if n != 1 || !errors.Is(err, stop) {
		t.Errorf("%d events, %v", n, err)
	}
}

// TestReadTakesAnEventOfExactlyTheLimit and not one byte more, at every place
// of an array: the scanner looks no further than an event may reach.
func TestReadTakesAnEventOfExactlyTheLimit(t *testing.T) {
	limits := DefaultLimits()
	limits.MaxEvent = 200
	fits := `{"event":"e","userId":"u","properties":{"x":"`
	fits += strings.Repeat("x", limits.MaxEvent-len(fits)-3) + `"}}`
	over := strings.TrimSuffix(fits, `"}}`) + `x"}}`
	var got []string
	_, err := NewReader(limits).Read([]byte("["+fits+","+over+","+fits+"]"), false, func(_ int, _ []byte, _ *Event, r *Refusal) error {
		if r == nil {
			got = append(got, "accepted")
		} else {
			got = append(got, string(r.Reason))
		}
		return nil
	})
	if want := "[accepted too_large accepted]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("got %v, %v; want %s", got, err, want)
	}
}

func BenchmarkRead(b *testing.B) {
	body := []byte("[" + strings.Repeat(benchEvent+",", 99) + benchEvent + "]")
	r := NewReader(DefaultLimits())
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Read(body, false, func(int, []byte, *Event, *Refusal) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/event")
}
