package testkit

import (
	"net/url"
	"strings"
	"testing"

	"github.com/millrace/millrace/libs/testkit/proxy"
)

// InsertedRows is the place in a native insert at which its rows have begun to
// flow: the head of the column _shard in the block. With it, LoseReplies loses
// the answer to the rows and not the table's columns that ClickHouse sends
// before, and CutInside (with an After of some bytes more) cuts within the
// block. It needs an uncompressed connection, which one to this machine is.
var InsertedRows = proxy.Match{Has: "\x06_shard\x06UInt16"}

// StartProxy starts a fault proxy before upstream and ends it with the test.
// Upstream is host:port or a URL of which only that is used: NATS.URL,
// ClickHouse's Addrs().Native or Addrs().HTTP.
func StartProxy(t testing.TB, upstream string) *proxy.Proxy {
	t.Helper()
	if strings.Contains(upstream, "://") {
		u, err := url.Parse(upstream)
		if err != nil {
			t.Fatalf("proxy: %v", err)
		}
		upstream = u.Host
	}
	p, err := proxy.Start(upstream)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}
