package bus

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

func TestReceipt(t *testing.T) {
	var r Receipt
	for _, p := range []Place{{2, 7}, {0, 3}, {2, 5}, {1, 1}} {
		r.Add(p)
	}
	if got, want := r.String(), "0:3,1:1,2:7"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for text, want := range map[string]string{
		"":                       "",
		"0:1":                    "0:1",
		"3:9,0:1,3:11":           "0:1,3:11",
		"in:12":                  "in:12",
		"0:18446744073709551615": "0:18446744073709551615",
	} {
		got, err := ParseReceipt(text, 4)
		if err != nil || got.String() != want {
			t.Errorf("%q: %q, %v; want %q", text, got.String(), err, want)
		}
	}
	for _, text := range []string{"4:1", "-1:1", "0", "0:", "0:0", ":1", "a:1", "0:1,", "0:18446744073709551616", "in:", "in:0", "0 :1"} {
		if got, err := ParseReceipt(text, 4); err == nil {
			t.Errorf("%q is taken as %+v", text, got)
		}
	}
}

func FuzzParseReceipt(f *testing.F) {
	f.Add("0:1,2:5")
	f.Add("in:7")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseReceipt(text, 4)
		if err != nil {
			return
		}
		again, err := ParseReceipt(r.String(), 4)
		if err != nil || again.String() != r.String() {
			t.Fatalf("%q became %q became %q, %v", text, r.String(), again.String(), err)
		}
	})
}

func TestDeadLetterKeepsItsBytes(t *testing.T) {
	want := DeadLetter{
		Incarnation: 9, Place: Place{Shard: 3, Seq: 44}, Idx: 5, Events: 2, Source: "shop", Stage: "door", Reason: "malformed",
		Detail: "two\nlines  and \xff", Received: time.Unix(1, 23).UTC(), Original: []byte("\x00\r\n\xff{"),
	}
	msg := want.Msg(Names{Prefix: "millrace"})
	if msg.Subject != "millrace.dead.3.door.malformed" || msg.Header.Get(nats.MsgIdHdr) != "9:3:44:5" {
		t.Errorf("subject %s, id %s", msg.Subject, msg.Header.Get(nats.MsgIdHdr))
	}
	got, err := ParseDeadLetter(msg.Header, msg.Data)
	if err != nil {
		t.Fatal(err)
	}
	if string(got.Original) != string(want.Original) || got.Place != want.Place || got.Events != 2 || !got.Received.Equal(want.Received) {
		t.Errorf("got %+v", got)
	}
	if got.Detail != "two lines and ?" {
		t.Errorf("detail %q must be one line of valid text", got.Detail)
	}
	want.Detail = strings.Repeat("é", maxDetail)
	if n := len(want.Msg(Names{Prefix: "m"}).Header.Get(HeaderDetail)); n > maxDetail || n < maxDetail-2 {
		t.Errorf("a long detail has %d bytes", n)
	}
	msg.Header.Set(HeaderIdentity, "1:2:3")
	if _, err := ParseDeadLetter(msg.Header, nil); err == nil {
		t.Error("a broken identity is taken")
	}
}

func TestSourcesAreTokens(t *testing.T) {
	for name, ok := range map[string]bool{
		"shop": true, "Shop_2-b": true, strings.Repeat("x", 64): true,
		"": false, "a.b": false, "a b": false, "a*": false, ">": false, "ä": false, strings.Repeat("x", 65): false,
	} {
		if err := ValidSource(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
	names := Names{Prefix: "millrace"}
	if got := names.SourceOf(names.In("shop")); got != "shop" {
		t.Errorf("source of the door's subject: %q", got)
	}
}
