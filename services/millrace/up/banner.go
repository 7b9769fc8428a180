package up

import (
	"fmt"
	"net"
	"strings"

	"github.com/millrace/millrace/libs/svc"
)

// banner is what a person needs next, each line ready to be copied.
func (c *Config) banner(r Ready, b Budget, d disk) {
	sql := "SELECT event, user_id, timestamp, properties FROM events ORDER BY received_at DESC LIMIT 5"
	bearer, ask := "", "/v1/ask' -H 'X-Write-Key: "+r.WriteKey+"'"
	if len(c.APIKeys) > 0 || c.AccessFile != "" {
		bearer = " -H 'Authorization: Bearer <key>'" // only its owner knows one
	}
	if c.AskNeedsAPIKey {
		ask = "/v1/ask?source=" + r.Source + "'" + bearer
	}
	size := func(n int64) string { return svc.Bytes(n).Short() }
	lines := []string{
		"",
		"millrace is ready.",
		"",
		"  events in    " + r.Ingest + "/v1/events",
		"  write key    " + r.WriteKey + "   (source " + r.Source + ")",
		"  answers out  " + r.Query + "/v1/sql",
		"  NATS         " + r.NATS + "   (publish to millrace.in." + r.Source + ")",
		"  ClickHouse   " + r.ClickHouseHTTP + " and " + r.ClickHouseNative + "   (passwords in secrets.json)",
		"  operations   " + r.Admin + "/metrics, /readyz?verbose",
		"  data         " + c.Dir,
		fmt.Sprintf("  disk         %s at most (--max-disk): %s streams, %s ClickHouse, %s logs and the rest; %s used, %s free",
			size(b.Total), size(b.Total-b.ClickHouse-b.Rest), size(b.ClickHouse), size(b.Rest), size(d.used), size(d.free)),
		"  durability   " + durabilityWords(c.power()),
	}
	if c.Demo {
		lines = append(lines, fmt.Sprintf("  demo         %g events a second from a small shop (--demo-rate)", c.DemoRate))
	}
	lines = append(lines,
		"",
		"Send an event:",
		"",
		"  curl "+r.Ingest+"/v1/events -H 'X-Write-Key: "+r.WriteKey+"' -d '{\"userId\":\"ada\",\"event\":\"Bread Baked\",\"properties\":{\"loaves\":2}}'",
		"",
		"and ask for it:",
		"",
		"  curl '"+r.Query+"/v1/sql?format=PrettyCompact'"+bearer+" -d '"+sql+"'",
		"",
		"or send it as a request, and see who asks:",
		"",
		"  curl '"+r.Query+ask+" -d '{\"userId\":\"ada\",\"event\":\"Help Requested\",\"properties\":{\"topic\":\"baking\"}}'",
		"",
		"Ctrl-C stops everything.",
	)
	// In one piece, so that a log line does not fall into it.
	fmt.Fprintln(c.Out, strings.Join(lines, "\n")) // a closed terminal is no reason to stop
}

func durabilityWords(power bool) string {
	if power {
		return "an acknowledged event survives a power loss (--durability power)"
	}
	return "an acknowledged event survives the end of any process; for a power loss: --durability power"
}

// reachable is an address to connect to for one to listen on.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
