package bus_test

import (
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/millrace/millrace/libs/bus"
)

func TestMayAnswer(t *testing.T) {
	n := bus.Names{Prefix: "millrace"}
	for reply, want := range map[string]bool{
		nats.NewInbox():              true,
		"_INBOX.a.b":                 true,
		"_INBOX_query.x.1":           true,
		"_R_.abc.1":                  true,
		"":                           false,
		"_INBOX":                     false,
		"_INBOX.":                    false,
		"_INBOXES.x":                 false,
		"x._INBOX.y":                 false,
		n.Ledger(0):                  false,
		n.Raw(0):                     false,
		n.In("web"):                  false,
		n.Door("web"):                false,
		n.QueryGroup() + ".sql":      false,
		"other.subject":              false,
		"$JS.API.STREAM.PURGE.X":     false,
		"$JS.ACK.X.ingester.1.1.1.1": false,
		"$KV.MILLRACE_LEASES.a":      false,
		"$SYS.REQ.SERVER.PING":       false,
		"$SRV.PING":                  false,
		"_GR_.a.b.x":                 false,
	} {
		if got := bus.MayAnswer(reply); got != want {
			t.Errorf("%q: %t", reply, got)
		}
	}
}
