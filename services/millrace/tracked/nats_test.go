package tracked

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/testkit"
	"github.com/millrace/millrace/libs/track"
)

// streamIn makes a stream as the NATS door's, of any size, which nobody empties.
func streamIn(t *testing.T, n *testkit.NATS, change func(*jetstream.StreamConfig), opts ...nats.Option) jetstream.Stream {
	t.Helper()
	js, err := jetstream.New(connect(t, n.URL, opts...))
	if err != nil {
		t.Fatal(err)
	}
	names := bus.Names{Prefix: bus.DefaultPrefix}
	cfg := jetstream.StreamConfig{Name: names.StreamIn(), Subjects: []string{names.In("*")}, Discard: jetstream.DiscardNew, Duplicates: 2 * time.Minute}
	change(&cfg)
	s, err := js.CreateStream(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var text = strings.Repeat("x", 2000)

func big(id string) track.Track {
	return track.Track{UserID: "ada", Event: "seen", MessageID: id, Properties: track.Properties{"text": text}}
}

// TestAFullStream fills the stream: events wait in the client until there is room, and nothing is reported.
func TestAFullStream(t *testing.T) {
	n := testkit.StartNATS(t)
	in := streamIn(t, n, func(c *jetstream.StreamConfig) { c.MaxBytes = 50_000 })
	var failed failures
	c := client(t, connect(t, n.URL), track.OnError(failed.add), track.Batch(1, 128<<10))
	for range 100 {
		c.Track(t.Context(), big(""))
	}
	testkit.Eventually(t, "the stream is full", func() bool { return c.Stats().Retries > 20 })
	if st := c.Stats(); st.Acknowledged == 0 || st.Waiting == 0 || !bus.IsFull(st.LastError) {
		t.Errorf("%+v", st)
	}
	testkit.Eventually(t, "all come in", func() bool {
		if err := in.Purge(t.Context()); err != nil {
			t.Fatal(err)
		}
		return c.Stats().Acknowledged == 100
	})
	end(t, c)
	failed.none(t)
}

// TestWhatNATSRefuses holds the client to what the real server says, and to the time after which it gives up.
func TestWhatNATSRefuses(t *testing.T) {
	check := func(what string, want, cause error, prepare func(n *testkit.NATS, nc *nats.Conn), opts ...func(*server.Options)) {
		t.Helper()
		n := testkit.StartNATS(t, opts...)
		nc := connect(t, n.URL)
		prepare(n, nc)
		var failed failures
		c := client(t, nc, track.OnError(failed.add), track.GiveUpAfter(time.Second))
		_, err := c.Submit(t.Context(), big("m")).Wait(t.Context())
		if !errors.Is(err, want) || !errors.Is(err, cause) || len(failed.all) != 1 || !strings.Contains(string(failed.last), `"messageId":"m"`) {
			t.Errorf("%s: %v, reported %v", what, err, failed.all)
		}
		end(t, c)
	}
	nothing := func(*testkit.NATS, *nats.Conn) {}
	check("no stream", track.ErrNotStored, jetstream.ErrNoStreamResponse, nothing)
	check("no JetStream", track.ErrNotStored, jetstream.ErrNoStreamResponse, nothing, func(o *server.Options) { o.JetStream = false })
	check("a small stream", track.ErrNotStored, track.ErrTooLarge, func(n *testkit.NATS, _ *nats.Conn) {
		streamIn(t, n, func(c *jetstream.StreamConfig) { c.MaxMsgSize = 1000 })
	})
	check("a small server", track.ErrTooLarge, track.ErrTooLarge, nothing, func(o *server.Options) { o.MaxPayload = 1000 })
	check("a closed connection", track.ErrNotStored, nats.ErrConnectionClosed, func(_ *testkit.NATS, nc *nats.Conn) { nc.Close() })
	check("a server that is gone", track.ErrNotStored, track.ErrNotStored, func(n *testkit.NATS, _ *nats.Conn) { n.Stop() })
}

// TestTheRightsOfAPublisher gives a user the rights that docs/track.md names, which are all it needs, and shows that it
// cannot write another's source.
func TestTheRightsOfAPublisher(t *testing.T) {
	n := testkit.StartNATS(t, func(o *server.Options) {
		o.Users = []*server.User{
			{Username: "operator", Password: "o"},
			{Username: "shop", Password: "s", Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Allow: []string{"millrace.in.shop"}},
				Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX_shop.>"}},
			}},
		}
	})
	in := streamIn(t, n, func(*jetstream.StreamConfig) {}, nats.UserInfo("operator", "o"))
	quiet := nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})
	nc := connect(t, n.URL, quiet, nats.UserInfo("shop", "s"), nats.CustomInboxPrefix("_INBOX_shop"))
	own := client(t, nc)
	if r, err := own.Submit(t.Context(), big("")).Wait(t.Context()); err != nil || r.In != 1 {
		t.Errorf("%v, %v", r, err)
	}
	end(t, own)
	other, err := track.New(nc, "web", track.GiveUpAfter(2*time.Second), track.AckWait(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Submit(t.Context(), big("")).Wait(t.Context()); !errors.Is(err, track.ErrNotStored) || !errors.Is(err, nats.ErrPermissionViolation) {
		t.Errorf("another's source: %v", err)
	}
	end(t, other)
	info, err := in.Info(t.Context())
	if err != nil || info.State.Msgs != 1 {
		t.Errorf("%+v, %v", info, err)
	}
}
