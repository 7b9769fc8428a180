package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// errNotYet is a receipt that has not been reached in the time given.
var errNotYet = errors.New("not yet")

// ask asks the query service for one line.
func (in *installation) ask(ctx context.Context, query, after string) (string, error) {
	u := in.addrs.Query + "/v1/sql?format=TSV"
	if after != "" {
		u += "&timeout=30s&after=" + url.QueryEscape(after)
	}
	text, status, err := post(ctx, u, query)
	if err == nil && status == http.StatusGatewayTimeout {
		return "", errNotYet
	}
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%d: %s", status, text)
	}
	return text, err
}

func post(ctx context.Context, u, body string) (text string, status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u, strings.NewReader(body))
	if err != nil {
		return "", 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	all, err := io.ReadAll(resp.Body)
	return strings.TrimSpace(string(all)), resp.StatusCode, err
}

// clickhouse asks the database itself, past Millrace.
type clickhouse struct {
	url       string
	passwords map[string]string // by user
}

func (c clickhouse) ask(ctx context.Context, user, query string) (string, error) {
	u := c.url + "/?" + url.Values{"database": {"millrace"}, "user": {user}, "password": {c.passwords[user]}}.Encode()
	text, status, err := post(ctx, u, query)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("ClickHouse: %d: %s", status, text)
	}
	return text, err
}

// arrived waits until this many rows are there and tells when that was. It
// waits for the receipt of what was sent last, because to ask again and again
// would cost ClickHouse a large part of what is measured; then it counts.
func (in *installation) arrived(ctx context.Context, after string, events int) (time.Time, error) {
	var reached time.Time
	for {
		text, err := in.ask(ctx, "SELECT count() FROM events", after)
		if errors.Is(err, errNotYet) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return time.Time{}, err
		}
		if n, _ := strconv.Atoi(text); n >= events {
			return time.Now(), nil
		}
		if reached.IsZero() {
			reached = time.Now()
		}
		if time.Since(reached) > receiptGrace {
			return time.Time{}, fmt.Errorf("%s of %d events are rows although the receipt %s was reached; dead letters: %s", text, events, after, in.dead(ctx))
		}
		select {
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("only %s of %d events arrived: %w", text, events, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// receiptGrace is how long rows may be missing after their receipt was reached:
// none should be.
const receiptGrace = 15 * time.Second

// dead says what was refused, for an error.
func (in *installation) dead(ctx context.Context) string {
	text, err := in.ask(ctx, "SELECT count(), any(stage), any(reason), any(detail) FROM dead_letters", "")
	if err != nil {
		return err.Error()
	}
	return strings.ReplaceAll(text, "\t", " ")
}

// exact checks that each of the events is there once. It comes after the
// measuring, because it reads everything. Rows that did not come through
// Millrace (table.go) are in shards from madeShard on.
func (in *installation) exact(ctx context.Context, events int) error {
	text, err := in.ask(ctx, fmt.Sprintf("SELECT count(), uniqExact(event_id) FROM events WHERE _shard < %d", madeShard), "")
	if err == nil && text != fmt.Sprintf("%d\t%d", events, events) {
		err = fmt.Errorf("events were lost or doubled: sent %d, rows and distinct ids %s", events, text)
	}
	return err
}

// madeShard is above every shard of an installation.
const madeShard = 1000

// blocks is how many blocks were inserted into the table so far: the number of
// the newest, summed over the partitions.
func (in *installation) blocks(ctx context.Context) (float64, error) {
	text, err := in.sql.ask(ctx, "millrace_migrator", `SELECT sum(n) FROM (SELECT max(max_block_number) AS n FROM system.parts
		WHERE database = 'millrace' AND table = 'events' AND active GROUP BY partition_id) FORMAT TSV`)
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(text, 64)
}

// quiet waits until ClickHouse has merged what it wants to merge: until it has
// used next to no CPU for a while.
func (in *installation) quiet(ctx context.Context) {
	last, still := cpuOf(in.stages)[database], 0
	for range 240 {
		select {
		case <-ctx.Done():
			return
		case <-time.After(500 * time.Millisecond):
		}
		now := cpuOf(in.stages)[database]
		if still++; now-last > 0.1 {
			still = 0
		}
		if still == 3 {
			return
		}
		last = now
	}
}
