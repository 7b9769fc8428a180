package frame

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"testing"
)

func sample(rows, from int) *Block {
	b := NewBlock(RowSchema)
	for r := range rows {
		n := from + r
		for i, spec := range RowSchema.specs {
			switch spec.kind {
			case kindFixed:
				switch spec.width {
				case 1:
					b.Bool(i, n%2 == 0)
				case 2:
					b.U16(i, uint16(n))
				case 4:
					b.U32(i, uint32(n))
				case 8:
					b.U64(i, uint64(n))
				}
			case kindString:
				b.Text(i, fmt.Sprintf("%s-%d-%s", RowSchema.Columns[i].Name, n, bytes.Repeat([]byte("x"), n%200)))
			case kindMapString:
				for k := range n % 4 {
					b.Entry(i, fmt.Appendf(nil, "k%d", k), fmt.Appendf(nil, "v%d-%d", n, k))
				}
			case kindMapFixed:
				for k := range n % 3 {
					b.FloatEntry(i, fmt.Appendf(nil, "k%d", k), float64(n)+0.5)
				}
			}
		}
		b.EndRow()
	}
	return b
}

func TestJoinEqualsWritingAllRowsIntoOneBlock(t *testing.T) {
	joined, j := NewBlock(RowSchema), NewJoiner(RowSchema)
	for _, part := range [][2]int{{3, 0}, {0, 3}, {1, 3}, {250, 4}} {
		body := Pack(nil, sample(part[0], part[1]).AppendNative(nil))
		native, err := Unpack(nil, body)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := j.Append(joined, native); err != nil || n != part[0] {
			t.Fatalf("append: %d rows, %v", n, err)
		}
	}
	want := sample(254, 0).AppendNative(nil)
	if got := joined.AppendNative(nil); !bytes.Equal(got, want) {
		t.Fatalf("joined block differs from the whole: %d and %d bytes", len(got), len(want))
	}
}

func TestViewReadsWhatBlockWrote(t *testing.T) {
	native := sample(50, 0).AppendNative(nil)
	v := NewView(RowSchema)
	if err := v.Parse(native); err != nil {
		t.Fatal(err)
	}
	copied := NewBlock(RowSchema)
	for r := range v.Rows() {
		if got := v.U64(ColSeq, r); got != uint64(r) {
			t.Errorf("row %d: seq %d", r, got)
		}
		if v.Bool(ColIsBot, r) != (r%2 == 0) {
			t.Errorf("row %d: bool", r)
		}
		n := 0
		for k, val := range v.Entries(ColProperties, r) {
			if want := fmt.Sprintf("v%d-%d", r, n); string(val) != want || string(k) != fmt.Sprintf("k%d", n) {
				t.Errorf("row %d: entry %s=%s, want %s", r, k, val, want)
			}
			n++
		}
		if n != r%4 {
			t.Errorf("row %d: %d entries", r, n)
		}
		for _, f := range v.FloatEntries(ColTraitsNum, r) {
			if f != float64(r)+0.5 || math.IsNaN(f) {
				t.Errorf("row %d: float %v", r, f)
			}
		}
		copied.AppendRow(v, r)
	}
	if !bytes.Equal(copied.AppendNative(nil), native) {
		t.Error("rows copied one by one differ from the block")
	}
}

func TestDamageIsFound(t *testing.T) {
	native := sample(5, 1).AppendNative(nil)
	j, b := NewJoiner(RowSchema), NewBlock(RowSchema)
	for cut := range len(native) {
		if _, err := j.Append(b, native[:cut]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
	if _, err := j.Append(b, append(bytes.Clone(native), 0)); !errors.Is(err, ErrDamaged) {
		t.Errorf("a byte more: %v", err)
	}
	if b.Rows() != 0 || b.Size() != 0 {
		t.Errorf("a damaged block left %d rows, %d bytes", b.Rows(), b.Size())
	}
}

func TestVerdictRunsOfEqualRefusalsAreOneEntry(t *testing.T) {
	var v Verdict
	for _, i := range []int{0, 1, 2, 5} {
		v.Refuse(i, "door", "no_user", "")
	}
	v.Refuse(6, "door", "malformed", "")
	if len(v.Refused) != 3 || v.Dead() != 5 {
		t.Errorf("%+v", v)
	}
	var back Verdict
	if err := Decode(Encode(&v), &back); err != nil || back.Dead() != 5 {
		t.Errorf("%+v %v", back, err)
	}
}

func TestPackedVerdictNamesTheSameEvents(t *testing.T) {
	type refusal struct {
		idx    int
		reason string
	}
	var v Verdict
	want := map[refusal]bool{}
	for idx := range 10_000 {
		reason := []string{"malformed", "no_user", "", "no_event", "no_event"}[idx%5]
		if idx%7 == 0 || reason == "" {
			continue
		}
		v.Refuse(idx, "door", reason, fmt.Sprintf("event %d", idx))
		want[refusal{idx, reason}] = true
	}
	v.Pack()
	text := Encode(&v)
	if len(text) > 48<<10 {
		t.Errorf("packed verdict takes %d bytes", len(text))
	}
	var back Verdict
	if err := Decode(text, &back); err != nil {
		t.Fatal(err)
	}
	if back.Dead() != len(want) {
		t.Errorf("%d dead, want %d", back.Dead(), len(want))
	}
	if err := back.Each(func(idx int, r *Refused) bool {
		if !want[refusal{idx, r.Reason}] {
			t.Fatalf("event %d is named as %s", idx, r.Reason)
		}
		delete(want, refusal{idx, r.Reason})
		return true
	}); err != nil || len(want) > 0 {
		t.Errorf("%d events are not named: %v", len(want), err)
	}
}

func FuzzBlock(f *testing.F) {
	f.Add(sample(3, 0).AppendNative(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, native []byte) {
		v, b := NewView(RowSchema), NewBlock(RowSchema)
		if err := v.Parse(native); err != nil {
			return
		}
		for r := range v.Rows() {
			b.AppendRow(v, r)
		}
		again := NewView(RowSchema)
		if err := again.Parse(b.AppendNative(nil)); err != nil || again.Rows() != v.Rows() {
			t.Fatalf("re-encoded block: %v", err)
		}
	})
}

func FuzzUnpack(f *testing.F) {
	f.Add(Pack(nil, sample(3, 0).AppendNative(nil)))
	f.Fuzz(func(t *testing.T, body []byte) {
		native, err := Unpack(nil, body)
		if err == nil && len(native) > MaxNative {
			t.Fatal("over the limit")
		}
	})
}
