package event

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
)

// checkNumber compares with encoding/json and strconv.
func checkNumber(t *testing.T, text string) {
	t.Helper()
	if text == "" || (text[0] != '-' && (text[0] < '0' || text[0] > '9')) {
		return // never called with another byte
	}
	n := numberEnd([]byte(text), 0)
	valid := json.Valid([]byte(text)) && text[len(text)-1] > ' '
	if whole := n.end == len(text); whole != valid {
		t.Fatalf("%q: read to %d, valid is %v", text, n.end, valid)
	}
	if n.end < 0 {
		if at := ^n.end; at < 1 || at > len(text) {
			t.Fatalf("%q: fault at %d", text, at)
		}
		return
	}
	text = text[:n.end]
	got, ok := n.float([]byte(text))
	want, err := strconv.ParseFloat(text, 64)
	if ok != (err == nil) {
		t.Fatalf("%q: finite is %v, want %v", text, ok, err == nil)
	}
	if ok && math.Float64bits(got) != math.Float64bits(want) {
		t.Fatalf("%q: got %v, want %v", text, got, want)
	}
}

var numberSeeds = []string{
	"0", "-0", "-", "--1", "00", "01", "-01", "1", "12", "1.", "1.0", ".5", "1e", "1e+", "1e5", "1E-5", "1.5e+3x",
	"9007199254740991", "9007199254740992", "9007199254740993", "18446744073709551615", "18446744073709551616",
	"9999999999999999999", "99999999999999999999", "1e22", "1e23", "1e-22", "1e-23", "123456789e-30",
	"0.1", "0.30000000000000004", "5e-324", "2e-324", "1.7976931348623157e308", "1.7976931348623159e308",
	"1e400", "-1e400", "1e-400", "1e99999999999999999999", "0e99999999999999999999", "0.000000000000000000001e21",
	"1e1000000", "1e-1000000",
}

func TestNumbers(t *testing.T) {
	for _, text := range numberSeeds {
		checkNumber(t, text)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 50_000 {
		f := math.Float64frombits(r.Uint64())
		if math.IsNaN(f) || math.IsInf(f, 0) {
			continue
		}
		checkNumber(t, strconv.FormatFloat(f, 'g', -1, 64))
		checkNumber(t, strconv.FormatFloat(r.NormFloat64()*1e4, 'f', r.IntN(12), 64))
	}
}

func FuzzNumber(f *testing.F) {
	for _, text := range numberSeeds {
		f.Add(text)
	}
	f.Fuzz(checkNumber)
}
