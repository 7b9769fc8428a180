package check

import (
	"errors"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/millrace/millrace/libs/bus"
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
