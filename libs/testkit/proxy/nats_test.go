package proxy_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/testkit"
	"github.com/millrace/millrace/libs/testkit/proxy"
)

// stream makes a stream behind a proxy: js goes through it, direct does not.
func stream(t *testing.T) (p *proxy.Proxy, js jetstream.JetStream, stored func() uint64) {
	t.Helper()
	n := testkit.StartNATS(t)
	p = testkit.StartProxy(t, n.URL)
	direct, err := n.Connect().CreateStream(t.Context(), jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.*"}})
	if err != nil {
		t.Fatal(err)
	}
	stored = func() uint64 {
		info, err := direct.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return info.State.Msgs
	}
	js = n.Connect(p)
	publish(t, js, "connected")
	return p, js, stored
}

// publish tries until the message is acknowledged: the client connects again
// when it likes.
func publish(t *testing.T, js jetstream.JetStream, text string) {
	t.Helper()
	testkit.Eventually(t, text+" is acknowledged", func() bool { return try(t, js, text) == nil })
}

func try(t *testing.T, js jetstream.JetStream, text string) error {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := js.Publish(ctx, "orders.web", []byte(text), jetstream.WithMsgID(text), jetstream.WithRetryAttempts(0))
	return err
}

// A publish whose acknowledgement is lost is stored, its publisher does not
// know, and a repeat with the same id does not double it.
func TestNATSReplyLost(t *testing.T) {
	p, js, stored := stream(t)
	p.LoseReplies(1, proxy.Match{Has: "PUB orders.web"})
	if err := try(t, js, "one"); err == nil {
		t.Fatal("acknowledged, although the reply was to be lost")
	}
	if got := stored(); got != 2 {
		t.Fatalf("%d messages stored, want 2", got)
	}
	publish(t, js, "one")
	if got := stored(); got != 2 {
		t.Fatalf("%d messages stored after the repeat, want 2", got)
	}
	if s := p.Stats(); s.LostReplies != 1 {
		t.Errorf("stats %+v", s)
	}
}

// A message that is cut in the middle is not stored, not even in part.
func TestNATSMessageCutInside(t *testing.T) {
	p, js, stored := stream(t)
	p.CutInside(proxy.Up, 1, proxy.Match{Has: "PUB orders.web", After: 100})
	long := string(make([]byte, 2000))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := js.Publish(ctx, "orders.web", []byte(long), jetstream.WithRetryAttempts(0)); err == nil {
		t.Fatal("acknowledged, although it was to be cut")
	}
	publish(t, js, "after")
	if got := stored(); got != 2 {
		t.Fatalf("%d messages stored, want 2", got)
	}
}

// The publisher gave up in a one-way cut; its message arrives with the network.
func TestNATSOneWayCutDeliversLate(t *testing.T) {
	p, js, stored := stream(t)
	p.Set(proxy.Up, proxy.Fault{Stall: true})
	if err := try(t, js, "late"); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, nats.ErrTimeout) {
		t.Fatalf("publish into a stalled network: %v", err)
	}
	if got := stored(); got != 1 {
		t.Fatalf("%d messages stored during the stall, want 1", got)
	}
	p.Heal()
	testkit.Eventually(t, "the late message is stored", func() bool { return stored() == 2 })
}

// Clients must not learn the server's own address and go around the proxy.
func TestNATSClientStaysBehindTheProxy(t *testing.T) {
	p, js, stored := stream(t)
	p.Cut()
	for range 3 {
		if err := try(t, js, "x"); err == nil {
			t.Fatal("published through a cut network")
		}
	}
	if got := js.Conn().DiscoveredServers(); len(got) != 0 {
		t.Errorf("the client knows other ways: %v", got)
	}
	p.Heal()
	publish(t, js, "back")
	if got := stored(); got != 2 {
		t.Errorf("%d messages stored, want 2", got)
	}
}
