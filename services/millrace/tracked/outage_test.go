package tracked

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/millrace/millrace/libs/testkit"
	"github.com/millrace/millrace/libs/testkit/proxy"
	"github.com/millrace/millrace/libs/track"
)

// steadily sends n events, one every millisecond or so, and does something on the way.
func steadily(t *testing.T, c *track.Client, n int, on map[int]func()) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for i := range n {
		c.Track(t.Context(), track.Track{UserID: fmt.Sprint("u", i%50), Event: "seen", Properties: track.Properties{"n": i}})
		if f := on[i]; f != nil {
			f()
		}
		<-tick.C
	}
}

// TestNATSAway stops the server for seconds, twice, while events come all the time, and starts it again on the same files.
func TestNATSAway(t *testing.T) {
	m := newMill(t)
	var failed failures
	c := client(t, connect(t, m.nats.URL), track.OnError(failed.add), track.AckWait(time.Second), track.Batch(20, 128<<10))
	steadily(t, c, 8000, map[int]func(){
		1000: m.nats.Stop, 4000: m.nats.Start,
		6000: m.nats.Stop, 6500: m.nats.Start,
	})
	began := time.Now()
	end(t, c)
	failed.none(t)
	st := c.Stats()
	t.Logf("closed after %s: %+v", time.Since(began), st)
	if st.Retries == 0 || st.Acknowledged != 8000 || st.Messages < 400 {
		t.Errorf("%+v", st)
	}
	m.counted(8000)
}

// TestACutConnection resets, stalls and cuts the publisher's connection, and loses acknowledgements of messages that are
// stored.
func TestACutConnection(t *testing.T) {
	m := newMill(t)
	p := testkit.StartProxy(t, m.nats.URL)
	var failed failures
	c := client(t, connect(t, "nats://"+p.Addr()), track.OnError(failed.add), track.AckWait(500*time.Millisecond), track.Batch(10, 128<<10))
	lose := func() { p.LoseReplies(1, proxy.Match{Has: "millrace.in.shop"}) }
	steadily(t, c, 6000, map[int]func(){
		300: p.Reset, 600: p.Stall, 1800: p.Heal, 2000: p.Cut, 2500: p.Heal,
		3000: lose, 3400: p.Heal, 3500: lose, 4000: p.Heal, 4200: lose, 4500: p.Heal, 5000: p.Reset, 5400: p.Reset,
	})
	end(t, c)
	failed.none(t)
	st := c.Stats()
	t.Logf("%+v, %+v", st, p.Stats())
	if st.Retries == 0 || st.Acknowledged != 6000 || p.Stats().Reset == 0 {
		t.Errorf("%+v", st)
	}
	m.counted(6000)
}

// TestTheConnectionComesLater starts a client before there is a server.
func TestTheConnectionComesLater(t *testing.T) {
	server := testkit.StartNATS(t)
	server.Provision(server.Connect(), 1)
	server.Stop()
	nc := connect(t, server.URL)
	c := client(t, nc)
	f := c.Submit(t.Context(), track.Track{UserID: "ada", Event: "early"})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := c.Flush(ctx); err == nil || nc.Status() == nats.CONNECTED {
		t.Error("there is no server, but it is flushed")
	}
	server.Start()
	if r, err := f.Wait(t.Context()); err != nil || r.String() != "in:1" {
		t.Errorf("%v, %v", r, err)
	}
	end(t, c)
}

// TestCloseWhileNATSIsAway does not wait longer than it may, and says of every event what has become of it.
func TestCloseWhileNATSIsAway(t *testing.T) {
	server := testkit.StartNATS(t)
	server.Provision(server.Connect(), 1)
	var failed failures
	c := client(t, connect(t, server.URL), track.OnError(failed.add), track.Batch(10, 128<<10))
	steadily(t, c, 200, map[int]func(){100: func() {
		if err := c.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		server.Stop()
	}})
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := c.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	st := c.Stats()
	if st.Acknowledged == 0 || st.NotStored == 0 || st.Acknowledged+st.NotStored != 200 || len(failed.all) != int(st.NotStored) {
		t.Errorf("%d reported, %+v", len(failed.all), st)
	}
	for _, err := range failed.all {
		if !errors.Is(err, track.ErrNotStored) {
			t.Error(err)
		}
	}
	end(t, c)
}
