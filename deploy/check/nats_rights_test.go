package check

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/bus/sources"
	"github.com/millrace/millrace/libs/testkit"
)

var names = bus.Names{Prefix: bus.DefaultPrefix}

var natsUsers = []string{"admin", "ingester", "enricher", "indexer", "query", "app"}

// startNATS runs a server with nats-server.conf; only its port is another.
func startNATS(t *testing.T) *testkit.NATS {
	t.Helper()
	opts := natsOptions(t, deployed("nats", "nats-server.conf"))
	return testkit.StartNATS(t, func(o *server.Options) { *o = *opts })
}

// natsOptions reads a configuration as `nats-server -t -c` does.
func natsOptions(t *testing.T, path string) *server.Options {
	t.Helper()
	for k, v := range words() {
		t.Setenv(k, v)
	}
	t.Setenv("NATS_STORE_DIR", t.TempDir())
	opts, err := server.ProcessConfigFile(path)
	if err != nil {
		t.Fatal(err)
	}
	opts.Host, opts.Port, opts.HTTPPort, opts.NoSigs, opts.NoLog = "127.0.0.1", server.RANDOM_PORT, 0, true, true
	return opts
}

func natsPassword(user string) string {
	return words()["MILLRACE_NATS_"+strings.ToUpper(user)+"_PASSWORD"]
}

func connect(t *testing.T, url, user string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, nats.UserInfo(user, natsPassword(user)), nats.CustomInboxPrefix("_INBOX_"+user),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // LastError tells
	if err != nil {
		t.Fatalf("connect as %s: %v", user, err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// refused says whether the server answered the last thing a connection did with a violation of permissions. The server
// does so before it answers a flush.
func refused(t *testing.T, nc *nats.Conn) bool {
	t.Helper()
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	switch err := nc.LastError(); {
	case err == nil:
		return false
	case errors.Is(err, nats.ErrPermissionViolation):
		return true
	default:
		t.Fatal(err)
		return false
	}
}

// TestRightsToPublish tries each subject as each user. No stream exists, so what is allowed has no effect.
func TestRightsToPublish(t *testing.T) {
	url := startNATS(t).URL
	api := func(call string, more ...string) string {
		return "$JS.API." + strings.Join(append([]string{call}, more...), ".")
	}
	raw, enriched, in, dead, ledger := names.StreamRaw(3), names.StreamEnriched(3), names.StreamIn(), names.StreamDead(), names.StreamLedger()
	leases, lease := "KV_"+names.BucketLeases(), "$KV."+names.BucketLeases()+"."
	known, source := "KV_"+names.BucketSources(), "$KV."+names.BucketSources()+"."

	tests := map[string][]string{ // subject -> who may
		names.In("app"):             {"app"},
		names.In("web"):             {},
		names.Door("app"):           {"query"},
		names.Live("app"):           {"query"},
		names.QueryGroup() + ".sql": {},
		"$SRV.PING":                 {"admin"},
		lease + "live.shard.0":      {"admin", "query"},
		api("DIRECT.GET", leases, lease+"live.shard.0"): {"admin", "query"},
		names.Raw(0):                                  {"ingester"},
		names.Enriched(0):                             {"enricher"},
		names.Ledger(0):                               {"indexer"},
		names.Dead(0, "door", "no_user"):              {"enricher"},
		names.Dead(0, "enricher", "too_large"):        {"enricher"},
		names.Dead(0, "indexer", "row_refused"):       {"indexer"},
		lease + "enricher.shard.0":                    {"admin", "enricher"},
		lease + "indexer.member.a":                    {"admin", "indexer"},
		lease + "ingester.member.a":                   {"admin", "ingester"},
		lease + "ingester.why.0":                      {"admin", "ingester"},
		lease + "ingester.shard.0":                    {"admin"},
		lease + "indexer.why.0":                       {"admin", "indexer"},
		"$JS.ACK." + in + ".ingester.1.1.1.1.1":       {"ingester"},
		"$JS.ACK." + dead + ".dead-letters.1.1.1.1.1": {"indexer"},
		"$SYS.REQ.SERVER.PING":                        {},
		"_INBOX_app.x":                                {},
		"_INBOX_query.x":                              {"ingester"}, // who answers whom
		"_INBOX_admin.x":                              {"query"},
		"_INBOX.x":                                    {"query"},
		"_R_.x":                                       {"query"},
		"else":                                        {},

		// What is purged: IN by the ingester, the rest by the owner of proof alone. The ledger never.
		api("STREAM.PURGE", raw):      {"admin", "indexer"},
		api("STREAM.PURGE", enriched): {"admin", "indexer"},
		api("STREAM.PURGE", dead):     {"admin", "indexer"},
		api("STREAM.PURGE", ledger):   {"admin"},
		api("STREAM.PURGE", in):       {"admin", "ingester"},
		api("STREAM.PURGE", leases):   {"admin"},

		api("STREAM.MSG.DELETE", in):                   {"admin"},
		api("CONSUMER.DELETE", in, "ingester"):         {"admin"},
		api("CONSUMER.DELETE", dead, "dead-letters"):   {"admin"},
		api("CONSUMER.DURABLE.CREATE", raw, "spy"):     {"admin"},
		api("CONSUMER.MSG.NEXT", in, "ingester"):       {"admin", "ingester"},
		api("CONSUMER.MSG.NEXT", dead, "dead-letters"): {"admin", "indexer"},

		// Who may read what.
		api("CONSUMER.CREATE", in, "spy"):                         {"admin"},
		api("CONSUMER.CREATE", raw, "spy"):                        {"admin", "enricher", "query"},
		api("CONSUMER.CREATE", enriched, "spy"):                   {"admin", "indexer", "query"},
		api("CONSUMER.CREATE", dead, "spy"):                       {"admin", "query"},
		api("CONSUMER.CREATE", dead, "dead-letters"):              {"admin"},
		api("CONSUMER.CREATE", dead, "dead-letters", "x"):         {"admin"},
		api("CONSUMER.CREATE", ledger, "spy"):                     {"admin", "indexer", "query"}, // the audit
		api("CONSUMER.CREATE", leases, "spy"):                     {"admin"},
		api("CONSUMER.CREATE", leases, "spy", lease+"enricher.>"): {"admin", "enricher", "query"},
		api("CONSUMER.CREATE", leases, "spy", lease+"indexer.>"):  {"admin", "indexer", "query"},
		api("CONSUMER.CREATE", leases, "spy", lease+">"):          {"admin", "query"},
		// Sources: whoever takes events or asks reads them, and only who administers writes.
		source + "app":                                   {"admin"},
		api("STREAM.PURGE", known):                       {"admin"},
		api("STREAM.MSG.DELETE", known):                  {"admin"},
		api("STREAM.MSG.GET", known):                     {"admin"},
		api("STREAM.INFO", known):                        {"admin", "ingester", "query"},
		api("CONSUMER.CREATE", known, "spy"):             {"admin"},
		api("CONSUMER.CREATE", known, "spy", source+">"): {"admin", "ingester", "query"},
		api("DIRECT.GET", known, source+"app"):           {"admin"},

		api("DIRECT.GET", raw):                                 {"admin", "enricher", "indexer", "query"},
		api("DIRECT.GET", enriched):                            {"admin", "enricher", "indexer", "query"},
		api("DIRECT.GET", leases, lease+"enricher.crash.0"):    {"admin", "enricher"},
		api("DIRECT.GET", leases, lease+"enricher.dead_out.0"): {"admin", "enricher", "indexer"},
		api("STREAM.MSG.GET", ledger):                          {"admin", "indexer", "query"},
		api("STREAM.MSG.GET", in):                              {"admin"},
		api("STREAM.INFO", in):                                 {"admin", "ingester", "query"},
		api("STREAM.NAMES"):                                    {"admin"},
	}
	for _, stream := range []string{in, raw, enriched, ledger, dead, leases, known} {
		for _, call := range []string{"STREAM.CREATE", "STREAM.UPDATE", "STREAM.DELETE", "STREAM.SNAPSHOT", "STREAM.RESTORE"} {
			tests[api(call, stream)] = []string{"admin"}
		}
	}
	for subject, may := range tests {
		for _, user := range natsUsers {
			nc := connect(t, url, user)
			if err := nc.Publish(subject, nil); err != nil {
				t.Fatal(err)
			}
			if got, want := refused(t, nc), !slices.Contains(may, user); got != want {
				t.Errorf("%s publishes to %s: refused is %t, want %t", user, subject, got, want)
			}
			nc.Close()
		}
	}
}

// TestRightsToSubscribe: everybody hears the answers to its own questions and nothing else.
func TestRightsToSubscribe(t *testing.T) {
	url := startNATS(t).URL
	subjects := []string{">", "millrace.>", names.In("app"), names.Raw(0), names.Enriched(0), "$JS.>", "$KV.>", "$SYS.>", "_INBOX.>"}
	for _, user := range natsUsers {
		subjects = append(subjects, "_INBOX_"+user+".>")
	}
	may := map[string]string{ // who answers there
		names.DoorAll(): "ingester", names.QueryGroup() + ".*": "query", names.QueryGroup() + ".queries.*": "query",
		"$SRV.PING": "query", "$SRV.INFO.millrace-query": "query", "$SRV.STATS.millrace-query.x": "query",
		names.Live("app"): "nobody",
	}
	for subject := range may {
		subjects = append(subjects, subject)
	}
	for _, subject := range subjects {
		for _, user := range natsUsers {
			nc := connect(t, url, user)
			if _, err := nc.SubscribeSync(subject); err != nil {
				t.Fatal(err)
			}
			if got, want := refused(t, nc), subject != "_INBOX_"+user+".>" && may[subject] != user; got != want {
				t.Errorf("%s subscribes to %s: refused is %t, want %t", user, subject, got, want)
			}
			nc.Close()
		}
	}
	for _, opts := range [][]nats.Option{nil, {nats.UserInfo("admin", "wrong")}, {nats.UserInfo("nobody", "")}} {
		if nc, err := nats.Connect(url, opts...); err == nil {
			nc.Close()
			t.Errorf("a connection with %d options got in without a password", len(opts))
		}
	}
}

// TestShards prints the configuration for other numbers of shards: it parses, and names exactly those.
func TestShards(t *testing.T) {
	printed := func(shards string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), deployed("nats", "shards.sh"), shards).Output()
		if err != nil {
			t.Fatalf("shards.sh %s: %v", shards, err)
		}
		return string(out)
	}
	if printed("4") != text(t, deployed("nats", "nats-server.conf")) {
		t.Error("shards.sh 4 changes nats-server.conf, which is for 4 shards")
	}
	conf := printed("12")
	path := filepath.Join(t.TempDir(), "nats.conf")
	write(t, path, conf)
	natsOptions(t, path)
	count := map[string]int{}
	for _, m := range regexp.MustCompile(`MILLRACE_(?:RAW|ENRICHED)_(\d+)`).FindAllStringSubmatch(conf, -1) {
		count[m[1]]++
	}
	if len(count) != 12 || count["0"] == 0 || count["0"] != count["11"] {
		t.Errorf("the configuration for 12 shards names them %v times", count)
	}
}

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
