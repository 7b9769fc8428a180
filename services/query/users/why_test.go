package users

import (
	"strings"
	"testing"
)

// TestWhyIsPlain: who holds a write key, which may be everybody, is not shown ClickHouse's own words.
func TestWhyIsPlain(t *testing.T) {
	r := newRig(t, 1, 0)
	r.door(nil)
	r.publish(did("ada", "old", 0))
	r.proveAll()
	r.db.Exec("RENAME TABLE millrace.events TO millrace.elsewhere")
	first := r.ask(`{"user_id":"ada","event_type":"help"}`)
	again := r.ask(`{"user_id":"ada","event_type":"help","message_id":"old0"}`) // looks for the id, too
	for _, a := range []*Context{first, again} {
		if a.Complete || len(a.Lacks) == 0 || a.Lacks[0].What != LackHistory {
			t.Errorf("lacks %+v", a.Lacks)
		}
		for _, l := range a.Lacks {
			for _, word := range []string{"Exception", "Code:", "UNKNOWN_TABLE", "millrace.", "events", "elsewhere"} {
				if strings.Contains(l.Why, word) && l.What == LackHistory {
					t.Errorf("%s: %s", l.What, l.Why)
				}
			}
			if l.What == LackHistory && !strings.HasPrefix(l.Why, "ClickHouse could not say") {
				t.Errorf("%s: %s", l.What, l.Why)
			}
		}
	}
}
