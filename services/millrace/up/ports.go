package up

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"
)

// ErrPort says that an address that was asked for cannot be listened on.
var ErrPort = errors.New("cannot listen")

// wantedPort is an address that something will listen on, and the flag that
// chooses it.
type wantedPort struct{ flag, addr string }

func (c *Config) wantedPorts() []wantedPort {
	local := func(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
	return []wantedPort{
		{"ingest-addr", c.IngestAddr},
		{"query-addr", c.QueryAddr},
		{"admin-addr", c.AdminAddr},
		{"nats-port", local(c.NATSPort)},
		{"clickhouse-http-port", local(c.ClickHouseHTTPPort)},
		{"clickhouse-native-port", local(c.ClickHouseNativePort)},
	}
}

// checkPorts finds every address that is taken before anything is started. It
// asks again until patience ends: after a kill -9 the ports are still held by
// a child that is about to end.
func checkPorts(ctx context.Context, wanted []wantedPort, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for {
		err := claimAll(wanted)
		if err == nil || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// claimAll listens on all of them at once, so that two flags with one port are
// found too, and lets go.
func claimAll(wanted []wantedPort) error {
	var errs []error
	for _, w := range wanted {
		l, err := net.Listen("tcp", w.addr)
		if err != nil {
			errs = append(errs, fmt.Errorf("--%s: %w on %s (%w); choose another with --%s, port 0 picks a free one",
				w.flag, ErrPort, w.addr, cause(err), w.flag))
			continue
		}
		defer func() { _ = l.Close() }() // nobody was served
	}
	return errors.Join(errs...)
}

// cause is what the system said, without the address, which the text has.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err
	}
	return err
}
