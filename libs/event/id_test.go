package event

import (
	"fmt"
	"testing"

	"github.com/google/uuid"
)

func TestNewID(t *testing.T) {
	last := ""
	for range 10_000 {
		id := NewID()
		u, err := uuid.Parse(id)
		if err != nil || u.String() != id || u.Version() != 7 || u.Variant() != uuid.RFC4122 {
			t.Fatalf("%q is no UUIDv7: %v", id, err)
		}
		if id <= last {
			t.Fatalf("%s does not sort after %s", id, last)
		}
		last = id
	}
}

// These ids are in streams and tables: the same input gives them for ever.
func TestHashedIDsAreStable(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{DerivedID(1, 1, 0), "30c14845-34f5-8585-8c20-8980f8c6f59d"},
		{DerivedID(18446744073709551615, 9007199254740993, 9999), "f26d8427-5038-8ae6-9c19-698c8d3c7746"},
		{KeyedID("demo", "key", 0), "b249b44f-2587-8f61-a11d-fbaf3cc2ecf1"},
		{KeyedID("", "", 0), "22598872-17e7-8b7d-878d-5047104922b5"},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
		u, err := uuid.Parse(c.got)
		if err != nil || u.Version() != 8 || u.Variant() != uuid.RFC4122 {
			t.Errorf("%q is no UUIDv8: %v", c.got, err)
		}
	}
}

func TestHashedIDsDiffer(t *testing.T) {
	seen := map[string]string{}
	add := func(id, from string) {
		t.Helper()
		if seen[id] != "" {
			t.Errorf("%s and %s both give %s", from, seen[id], id)
		}
		seen[id] = from
	}
	for incarnation := range uint64(3) {
		for seq := range uint64(50) {
			for index := range 50 {
				add(DerivedID(incarnation, seq, index), fmt.Sprint(incarnation, seq, index))
			}
		}
	}
	for _, source := range []string{"", "a", "ab", "b"} {
		for _, key := range []string{"", "b", "bc", "ab", "c"} {
			for index := range 20 {
				add(KeyedID(source, key, index), fmt.Sprintf("%q %q %d", source, key, index))
			}
		}
	}
}

func TestAppendIDs(t *testing.T) {
	if got := string(AppendDerivedID([]byte("x"), 1, 2, 3)); got != "x"+DerivedID(1, 2, 3) {
		t.Errorf("got %s", got)
	}
	if got := string(AppendKeyedID([]byte("x"), "s", "k", 3)); got != "x"+KeyedID("s", "k", 3) {
		t.Errorf("got %s", got)
	}
	dst := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() {
		dst = AppendDerivedID(dst[:0], 1, 2, 3)
		dst = AppendKeyedID(dst[:0], "source", "key", 3)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
