package ingester

import (
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/millrace/millrace/libs/bus"
)

// ingesterRights are all that an ingester without --manage-streams needs.
func ingesterRights() *server.Permissions {
	return &server.Permissions{
		Publish: &server.SubjectPermission{Allow: []string{
			"millrace.raw.*",
			"$JS.API.STREAM.INFO.*", // or one for IN and one for each RAW_<shard>: a wildcard is a whole token
			"$JS.API.CONSUMER.INFO.MILLRACE_IN.ingester",
			"$JS.API.CONSUMER.MSG.NEXT.MILLRACE_IN.ingester",
			"$JS.ACK.MILLRACE_IN.ingester.>",
			"$JS.API.STREAM.PURGE.MILLRACE_IN",
			"$KV.MILLRACE_LEASES.ingester.member.*",
			"$KV.MILLRACE_LEASES.ingester.why.*",
			"$JS.API.CONSUMER.CREATE.KV_MILLRACE_SOURCES.*.$KV.MILLRACE_SOURCES.>", // it watches the sources
			"$JS.API.CONSUMER.DELETE.KV_MILLRACE_SOURCES.*",
			"$JS.FC.KV_MILLRACE_SOURCES.>",
		}},
		Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX_ingester.>", "millrace.door.*"}},
		Response:  &server.ResponsePermission{MaxMsgs: 1, Expires: time.Minute},
	}
}

func TestItNeedsNoOtherRights(t *testing.T) {
	n := startNATS(t, func(o *server.Options) {
		o.Users = []*server.User{
			{Username: "admin", Password: "a"},
			{Username: "ingester", Password: "i", Permissions: ingesterRights()},
		}
		o.NoAuthUser = "admin" // the test's own connections
	})
	admin := bus.Config{URL: n.url()}
	nc, js, err := admin.Connect("admin", discard())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	plan := bus.Plan{Shards: 2, Sizes: bus.Sizes{In: 1 << 20, Raw: 1 << 20, Enriched: 1 << 20, Dead: 1 << 20}, MaxIn: 1 << 20}
	if _, err := bus.Provision(t.Context(), js, admin.Names(), plan); err != nil {
		t.Fatal(err)
	}
	r := startRig(t, n, func(c *Config) {
		c.ManageStreams = false
		c.Bus.User, c.Bus.Pass, c.Bus.InboxPrefix = "ingester", "i", "_INBOX_ingester"
	}).opened()
	for i := range 10 {
		r.post(good("u", i)).want(t, 200)
		r.publish("web", good("u", i))
		r.request("web", good("u", i), 200)
	}
	eventually(t, "messages are taken", r.inEmpty)
	if rows := r.raw(); len(rows) != 30 {
		t.Errorf("%d rows", len(rows))
	}
	if _, ready := r.health.Check(t.Context()); !ready {
		t.Error("not ready")
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if log := r.log.String(); containsLevel(log, slog.LevelWarn) {
		t.Errorf("something was denied:\n%s", log)
	}
}
