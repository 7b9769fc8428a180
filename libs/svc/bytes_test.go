package svc

import (
	"flag"
	"io"
	"strings"
	"testing"
)

func TestBytesAreReadWithUnits(t *testing.T) {
	is := func(text string, want int64, written, short string) {
		t.Helper()
		var b Bytes
		if err := b.Set(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if int64(b) != want || b.String() != written || b.Short() != short {
			t.Errorf("%q is %d, written %s, in short %s; want %d, %s, %s", text, int64(b), b, b.Short(), want, written, short)
		}
		back := Bytes(-1)
		if err := back.Set(b.String()); err != nil || back != b {
			t.Errorf("%q is written %s, which is %d: %v", text, b, int64(back), err)
		}
	}
	is("0", 0, "0", "0")
	is("12B", 12, "12", "12")
	is("1000", 1000, "1000", "1000")
	is("1048576", 1<<20, "1MiB", "1MiB")
	is("4KiB", 4<<10, "4KiB", "4KiB")
	is("4kB", 4000, "4000", "3.9KiB")
	is("4KB", 4000, "4000", "3.9KiB")
	is("512 MiB", 512<<20, "512MiB", "512MiB")
	is(" 20GiB ", 20<<30, "20GiB", "20GiB")
	is("1.5 GiB", 3<<29, "1536MiB", "1.5GiB")
	is("0.5B", 0, "0", "0")
	is("500MB", 500e6, "500000000", "476.8MiB")
	is("1GB", 1e9, "1000000000", "953.6MiB")
	is("2TB", 2e12, "1953125000KiB", "1.8TiB")
	is("1TiB", 1<<40, "1TiB", "1TiB")
	is("1434MiB", 1434<<20, "1434MiB", "1.4GiB")
	is("9007199254740993", 1<<53+1, "9007199254740993", "8192TiB") // no float64
	is("4611686018427387903", 1<<62-1, "4611686018427387903", "4194303.9TiB")
}

func TestBytesRefuseWhatIsNoSize(t *testing.T) {
	for _, text := range []string{
		"", "GiB", "-1", "-1.5GiB", "many", "12 apples", "1GiBGiB", "NaN", "Inf", "1e30TiB", "99999999999TiB", "4611686018427387904",
	} {
		b := Bytes(7)
		if err := b.Set(text); err == nil || b != 7 {
			t.Errorf("%q was taken as %d", text, int64(b))
		}
	}
}

// A size in a written configuration is text that says its unit.
func TestBytesInAWrittenConfiguration(t *testing.T) {
	fs := flag.NewFlagSet("x", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	size := Bytes(256 << 20)
	fs.Var(&size, "size", "most `bytes`")
	var out strings.Builder
	if err := WriteConfig(&out, fs); err != nil || out.String() != "size: 256MiB\n" {
		t.Errorf("%q %v", out.String(), err)
	}
}
