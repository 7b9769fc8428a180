package check

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus/sources"
	"github.com/millrace/millrace/libs/testkit"
)

// TestAPublisherOfOneSource: with real streams and a real bucket, a publisher does nothing but publish to its own source.
func TestAPublisherOfOneSource(t *testing.T) {
	n := startNATS(t)
	js, err := jetstream.New(connect(t, n.URL, "admin"))
	if err != nil {
		t.Fatal(err)
	}
	n.Provision(js, 4)
	store, err := sources.Open(t.Context(), js, names)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Add(t.Context(), sources.Record{Name: "web"}); err != nil {
		t.Fatal(err)
	}
	app, err := jetstream.New(connect(t, n.URL, "app"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := app.Publish(t.Context(), names.In("app"), []byte("{}")); err != nil {
		t.Fatalf("its own source: %v", err)
	}
	short := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	for what, try := range map[string]func() error{
		"publish to another source": func() error {
			_, err := app.Publish(short(), names.In("web"), []byte("{}"), jetstream.WithRetryAttempts(0))
			return err
		},
		"publish to RAW": func() error {
			_, err := app.Publish(short(), names.Raw(0), []byte("{}"), jetstream.WithRetryAttempts(0))
			return err
		},
		"look at IN": func() error { _, err := app.Stream(short(), names.StreamIn()); return err },
		"list streams": func() error {
			l := app.StreamNames(short())
			for range l.Name() {
			}
			return l.Err()
		},
		"delete IN": func() error { return app.DeleteStream(short(), names.StreamIn()) },
		"make a stream": func() error {
			_, err := app.CreateStream(short(), jetstream.StreamConfig{Name: "X", Subjects: []string{"x"}})
			return err
		},
		"read IN": func() error {
			_, err := app.CreateConsumer(short(), names.StreamIn(), jetstream.ConsumerConfig{})
			return err
		},
		"take from IN":    func() error { _, err := app.Consumer(short(), names.StreamIn(), names.DurableIngester()); return err },
		"open the bucket": func() error { _, err := app.KeyValue(short(), names.BucketSources()); return err },
		"purge IN": func() error {
			_, err := app.Conn().RequestWithContext(short(), "$JS.API.STREAM.PURGE."+names.StreamIn(), nil)
			return err
		},
		"write the bucket": func() error {
			_, err := app.Publish(short(), "$KV."+names.BucketSources()+".web", []byte("{}"), jetstream.WithRetryAttempts(0))
			return err
		},
		"hear the events of others": func() error {
			sub, err := app.Conn().SubscribeSync(names.In("*"))
			if err != nil {
				return err
			}
			if _, err := app.Publish(t.Context(), names.In("app"), []byte("{}")); err != nil {
				return err
			}
			_, err = sub.NextMsg(100 * time.Millisecond)
			return err
		},
	} {
		if err := try(); err == nil {
			t.Errorf("a publisher of app may %s", what)
		}
	}
	in, err := js.Stream(t.Context(), names.StreamIn())
	if err != nil || in.CachedInfo().State.Msgs != 2 {
		t.Errorf("IN has %d messages, %v", in.CachedInfo().State.Msgs, err)
	}
	raw, err := js.Stream(t.Context(), names.StreamRaw(0))
	if err != nil || raw.CachedInfo().State.Msgs != 0 {
		t.Errorf("RAW has messages of a publisher, %v", err)
	}
	if rec, err := store.Get(t.Context(), "web"); err != nil || rec.Version != sources.Version {
		t.Errorf("the source is %+v, %v", rec, err)
	}
}

// TestRepliesOfPublishers: wherever a publisher wants its acknowledgement to go, it reaches no stream and no API.
func TestRepliesOfPublishers(t *testing.T) {
	n := startNATS(t)
	js, err := jetstream.New(connect(t, n.URL, "admin"))
	if err != nil {
		t.Fatal(err)
	}
	n.Provision(js, 4)
	in, err := js.Stream(t.Context(), names.StreamIn())
	if err != nil {
		t.Fatal(err)
	}
	nc := connect(t, n.URL, "app")
	replies := []string{
		names.Raw(0), names.Enriched(0), names.Ledger(0), names.Dead(0, "door", "no_user"), names.In("app"), names.In("web"),
		"$KV." + names.BucketLeases() + ".indexer.shard.0", "$JS.API.STREAM.PURGE." + names.StreamIn(),
	}
	for _, reply := range replies {
		if err := nc.PublishMsg(&nats.Msg{Subject: names.In("app"), Reply: reply, Data: []byte("{}")}); err != nil {
			t.Fatal(err)
		}
	}
	// One more, whose acknowledgement comes back, so that those before it have been given.
	app, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := app.Publish(t.Context(), names.In("app"), []byte("{}")); err != nil {
		t.Fatalf("publish as app: %v", err)
	}
	streams := js.ListStreams(t.Context())
	for info := range streams.Info() {
		want := uint64(0)
		if info.Config.Name == names.StreamIn() {
			want = uint64(len(replies)) + 1
		}
		if info.State.LastSeq != want {
			t.Errorf("%s has %d messages, want %d", info.Config.Name, info.State.LastSeq, want)
		}
	}
	if err := streams.Err(); err != nil {
		t.Fatal(err)
	}
	if info, err := in.Info(t.Context()); err != nil || info.State.Msgs != uint64(len(replies))+1 {
		t.Errorf("IN was purged: %+v, %v", info.State, err)
	}
}

// TestRepliesOfAskers: wherever somebody who may ask wants the answer to go, the one who answers writes it to inboxes only,
// even where the service itself would not look at the subject.
func TestRepliesOfAskers(t *testing.T) {
	conf := text(t, deployed("nats", "nats-server.conf"))
	for old, with := range map[string]string{
		`exports: [{service: "millrace.in.*"}]
    users: [`: `exports: [{service: "millrace.in.*"}, {service: "millrace.query.>"}]
    users: [
      {user: asker, password: asker, permissions: {
        publish: ["millrace.query.>", "millrace.door.*", "$SRV.>"], subscribe: ["_INBOX.>"]}}`,
		`imports: [{service: {account: MILLRACE, subject: "millrace.in.*"}}]
    users: [`: `imports: [{service: {account: MILLRACE, subject: "millrace.query.>"}}]
    users: [
      {user: stranger, password: stranger, permissions: {publish: ["millrace.query.>"], subscribe: ["_INBOX.>"]}}`,
	} {
		if strings.Count(conf, old) != 1 {
			t.Fatalf("nats-server.conf has not once %q", old)
		}
		conf = strings.Replace(conf, old, with, 1)
	}
	path := filepath.Join(t.TempDir(), "nats.conf")
	write(t, path, conf)
	opts := natsOptions(t, path)
	n := testkit.StartNATS(t, func(o *server.Options) { *o = *opts })
	js, err := jetstream.New(connect(t, n.URL, "admin"))
	if err != nil {
		t.Fatal(err)
	}
	n.Provision(js, 4)
	for _, user := range []string{"asker", "stranger"} {
		nc, err := nats.Connect(n.URL, nats.UserInfo(user, user))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		for subject, by := range map[string]string{names.QueryGroup() + ".sql": "query", names.Door("app"): "ingester", "$SRV.PING": "query"} {
			if user == "stranger" && subject != names.QueryGroup()+".sql" {
				continue
			}
			answering := connect(t, n.URL, by)
			if _, err := answering.Subscribe(subject, func(m *nats.Msg) { _ = m.Respond([]byte("an answer")) }); err != nil {
				t.Fatal(err)
			}
			if err := answering.Flush(); err != nil {
				t.Fatal(err)
			}
			for _, reply := range []string{
				names.Ledger(0), names.Dead(0, "door", "no_user"), names.In("app"), "$KV." + names.BucketLeases() + ".ingester.shard.0",
				"$JS.API.STREAM.PURGE." + names.StreamLedger(), "$JS.API.STREAM.PURGE." + names.StreamRaw(0), "$SYS.REQ.SERVER.PING",
			} {
				if err := nc.PublishMsg(&nats.Msg{Subject: subject, Reply: reply, Data: []byte("SELECT 1")}); err != nil {
					t.Fatal(err)
				}
			}
			// One more in order behind them; its answer comes where answers may go.
			if by == "query" {
				m, err := nc.Request(subject, []byte("SELECT 1"), 10*time.Second)
				if err != nil || string(m.Data) != "an answer" {
					t.Errorf("%s asks %s: %v, %v", user, subject, m, err)
				}
			} else if err := nc.Flush(); err != nil {
				t.Fatal(err)
			}
			if err := answering.Drain(); err != nil {
				t.Fatal(err)
			}
			testkit.Eventually(t, "all were answered", answering.IsClosed)
		}
	}
	streams := js.ListStreams(t.Context())
	for info := range streams.Info() {
		if info.State.LastSeq != 0 {
			t.Errorf("an asker wrote %d messages into %s", info.State.LastSeq, info.Config.Name)
		}
	}
	if err := streams.Err(); err != nil {
		t.Fatal(err)
	}
}
