package cli

import "testing"

func values(list ...float64) (out []*float64) {
	for _, x := range list {
		if x == -1 {
			out = append(out, nil)
		} else {
			out = append(out, &x)
		}
	}
	return out
}

func TestSpark(t *testing.T) {
	for _, tc := range []struct {
		values []*float64
		want   string
	}{
		{nil, ""},
		{values(0, 0), "▁▁"},
		{values(0, 1, 2, 3, 4, 5, 6, 7, 8), "▁▂▃▄▅▆▇██"},
		{values(5, -1, 5), "█ █"},
		{fewer(values(1, 1, 2, 2, -1, -1, 4), 4), "▅█ █"},
	} {
		if got := spark(tc.values); got != tc.want {
			t.Errorf("%v: %q, want %q", tc.values, got, tc.want)
		}
	}
}

func TestBar(t *testing.T) {
	for share, want := range map[float64]string{0: "", 1: "████", 2: "████", 0.5: "██", 0.26: "█", 0.3: "█▎", 0.01: ""} {
		if got := bar(share, 4); got != want {
			t.Errorf("%v: %q, want %q", share, got, want)
		}
	}
}

func TestFigure(t *testing.T) {
	for x, want := range map[float64]string{
		0: "0", 1234567: "1,234,567", -1234: "-1,234", 1234.5: "1,234.50", 0.005: "0.01", 2.999: "3.00", -0.25: "-0.25", 1e300: "1e+300",
	} {
		if got := figure(&x); got != want {
			t.Errorf("%v: %q, want %q", x, got, want)
		}
	}
	if figure(nil) != "-" {
		t.Error("nothing has a figure")
	}
}
