package proxy_test

import (
	"testing"
	"time"

	"github.com/millrace/millrace/libs/testkit/proxy"
)

func TestLostReply(t *testing.T) {
	r := start(t)
	other, otherServer := r.dial()
	r.LoseReplies(1, proxy.Match{Has: "PUB secret"})
	r.send(r.client, "PING")
	r.reads(r.server, "PING")
	r.send(r.server, "PONG")
	r.reads(r.client, "PONG")
	r.send(r.client, "PUB se") // the match is cut by packets
	r.reads(r.server, "PUB se")
	r.send(r.client, "cret and more")
	r.reads(r.server, "cret and more")
	r.send(r.server, "OK")
	r.broken(r.client)
	r.ends(r.server) // an orderly end, after all that was sent
	if s := r.Stats(); s.LostReplies != 1 {
		t.Errorf("stats %+v", s)
	}
	r.send(other, "PUB secret")
	r.reads(otherServer, "PUB secret")
	r.send(otherServer, "OK")
	r.reads(other, "OK") // one reply, not two
}

// A request of the last time, whose reply was never seen, does not hide the next.
func TestLostReplyIsArmedAnew(t *testing.T) {
	r := start(t)
	r.LoseReplies(1, proxy.Match{Has: "first"})
	r.send(r.client, "first")
	r.reads(r.server, "first")
	r.LoseReplies(1, proxy.Match{Has: "second"})
	r.send(r.server, "to the first")
	r.reads(r.client, "to the first")
	r.send(r.client, "second")
	r.reads(r.server, "second")
	r.send(r.server, "to the second")
	r.broken(r.client)
}

func TestLostReplyOfAnyRequestThroughDelay(t *testing.T) {
	r := start(t)
	r.Set(proxy.Down, proxy.Fault{Delay: 100 * time.Millisecond})
	r.send(r.server, "news") // on its way before there is a request
	r.LoseReplies(1, proxy.Match{})
	r.reads(r.client, "news")
	r.send(r.client, "ask")
	r.reads(r.server, "ask")
	r.send(r.server, "reply")
	r.broken(r.client)
}

func TestCutInside(t *testing.T) {
	for _, tc := range []struct {
		name  string
		match proxy.Match
		want  string
	}{
		{"after bytes", proxy.Match{After: 5}, "HEAD "},
		{"after text", proxy.Match{Has: "body="}, "HEAD body="},
		{"after text and bytes", proxy.Match{Has: "body=", After: 3}, "HEAD body=012"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := start(t)
			r.CutInside(proxy.Up, 1, tc.match)
			r.send(r.client, "HEAD bo")
			if tc.match.Has == "" {
				r.broken(r.client)
			} else {
				r.send(r.client, "dy=0123456789")
				r.broken(r.client)
			}
			r.reads(r.server, tc.want)
			r.ends(r.server)
		})
	}
}

func TestStallInside(t *testing.T) {
	r := start(t)
	r.StallInside(proxy.Up, 1, proxy.Match{Has: "body=", After: 3})
	r.send(r.client, "HEAD body=0123456789")
	_ = r.client.Close()
	r.reads(r.server, "HEAD body=012")
	r.silent(r.server)
	other, otherServer := r.dial()
	r.send(other, "HEAD body=0123456789") // only the first is held
	r.reads(otherServer, "HEAD body=0123456789")
	r.Heal()
	r.reads(r.server, "3456789")
	r.ends(r.server)
}

// A request begins when the other direction has moved: bytes are not counted
// across requests.
func TestCutInsideCountsWithinARequest(t *testing.T) {
	r := start(t)
	r.CutInside(proxy.Up, 1, proxy.Match{After: 6})
	for range 3 {
		r.send(r.client, "four")
		r.reads(r.server, "four")
		r.send(r.server, "ok")
		r.reads(r.client, "ok")
	}
	r.send(r.client, "more than six")
	r.reads(r.server, "more t")
	r.ends(r.server)
}
