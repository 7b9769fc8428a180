package writekey

import (
	"strings"
	"testing"
)

func TestLists(t *testing.T) {
	for _, bad := range []string{"", "shop", "shop:", ":key", "a b:key", "shop:a,"} {
		if err := new(Keys).Set(bad); err == nil {
			t.Errorf("%q is taken", bad)
		} else if strings.Contains(err.Error(), "key\"") {
			t.Errorf("the error shows the key: %v", err)
		}
	}
	var k Keys
	if err := k.Set("shop:a, shop:b:c ,app:d"); err != nil || k.Len() != 3 {
		t.Fatalf("%v, %d keys", err, k.Len())
	}
	if s, ok := k.Source("b:c"); s != "shop" || !ok {
		t.Errorf("a key with a colon: %q %v", s, ok)
	}
	if s, ok := k.Source("b"); ok {
		t.Errorf("a part of a key is source %q's", s)
	}
	if err := k.Add("other", "a"); err == nil {
		t.Error("one key of two sources is taken")
	}
	if text := k.String(); text != "3 keys" || !k.IsSecret() {
		t.Errorf("printed as %q", text)
	}
	owners := map[string]int{}
	for _, source := range k.Digests() {
		owners[source]++
	}
	if owners["shop"] != 2 || owners["app"] != 1 {
		t.Errorf("the digests are of %v", owners)
	}
}
