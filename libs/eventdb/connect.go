package eventdb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

const (
	dialTimeout = 5 * time.Second
	// packetTimeout bounds the silence of a server during an insert. It reports progress more often; a part of a large
	// block that is synced to a slow disk may take seconds.
	packetTimeout = 60 * time.Second
)

// Open returns a pool of connections for questions. It does not connect yet: that happens at the first question, and
// again whenever a connection was lost. A deadline of ctx beyond a second becomes the question's max_execution_time,
// five seconds longer (clickhouse-go does that).
func Open(cfg Config) (driver.Conn, error) {
	o, err := cfg.options()
	if err != nil {
		return nil, err
	}
	tune(o)
	conn, err := clickhouse.Open(o)
	if err != nil {
		return nil, fmt.Errorf("open ClickHouse: %w", err)
	}
	return conn, nil
}

func tune(o *clickhouse.Options) {
	o.DialTimeout = dialTimeout
	o.MaxOpenConns, o.MaxIdleConns = 16, 4
	o.ConnMaxLifetime = 10 * time.Minute
	o.ClientInfo.Products = append(o.ClientInfo.Products, struct{ Name, Version string }{"millrace", "1"})
}

// insertSettings of every connection that [Dial] makes. The defaults of 26.x would gather inserts of several clients in
// one part and answer for them together; one insert must be one block, one token and one part per partition.
func insertSettings() []ch.Setting {
	return []ch.Setting{
		ch.SettingInt("async_insert", 0),
		ch.SettingInt("insert_deduplicate", 1),
		ch.SettingInt("use_strict_insert_block_limits", 0),
	}
}

// Dial connects for inserts, trying the hosts of the URL in order. The connection serves one goroutine; after an error
// that is not an answer of the server ([Classify] says [Unavailable]) close it and dial again.
func Dial(ctx context.Context, cfg Config) (*ch.Client, error) {
	o, err := cfg.options()
	if err != nil {
		return nil, err
	}
	compression := ch.CompressionDisabled
	if o.Compression != nil && o.Compression.Method != clickhouse.CompressionNone {
		compression = ch.CompressionLZ4
	}
	var failed []error
	for _, addr := range o.Addr {
		client, err := ch.Dial(ctx, ch.Options{
			Address: addr, Database: o.Auth.Database, User: o.Auth.Username, Password: o.Auth.Password,
			TLS: o.TLS, Compression: compression, ClientName: "millrace", Settings: insertSettings(),
			DialTimeout: dialTimeout, HandshakeTimeout: dialTimeout, ReadTimeout: packetTimeout,
		})
		if err == nil {
			// ch-go sends the last bytes of the handshake with the first request.
			if err = client.Ping(ctx); err == nil {
				return client, nil
			}
			_ = client.Close() // of no use
		}
		failed = append(failed, fmt.Errorf("connect to ClickHouse at %s: %w", addr, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(failed...)
}
