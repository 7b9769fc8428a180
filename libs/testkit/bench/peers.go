package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/localdb"
)

// peerSubject is where the events for a peer go, one a message.
const peerSubject = "peer.events"

// peerShare is the share of an ordinary run's events that a peer gets: a run
// then takes about as long as one of Millrace.
const peerShare = 0.3

// bentoProgram is built by scripts/build-peers.
const bentoProgram = ".bench/peers/bento"

// bentoVersion is the version that the peer's go.mod pins.
func bentoVersion(peers string) (string, error) {
	text, err := os.ReadFile(filepath.Join(peers, "bento", "go.mod"))
	if err != nil {
		return "", err
	}
	_, rest, ok := strings.Cut(string(text), "github.com/warpstreamlabs/bento v")
	if !ok {
		return "", errors.New("the go.mod of the peer bento does not require Bento")
	}
	return strings.Fields(rest)[0], nil
}

// bento measures Bento between the NATS server and the ClickHouse that the
// part `split` has, on the same events, from the first published to the last
// row. Its configuration, and what it does less, is in peers/bento.
func (b *bench) bento(ctx context.Context, name string) (r result, err error) {
	w := way{part: "peer-bento", events: max(1, int(peerShare*float64(b.events))), size: usualSize, durability: "process"}
	r = w.result(b)
	table, err := os.ReadFile(filepath.Join(b.peers, "bento", "table.sql"))
	if err != nil {
		return r, err
	}
	l := newGenerator(name, 1, usualSize).load(w.events, 1)
	dir, err := os.MkdirTemp("", "millrace-bench-")
	if err != nil {
		return r, err
	}
	defer func() {
		if err == nil {
			err = os.RemoveAll(dir)
			return
		}
		err = fmt.Errorf("%w; its files are in %s", err, dir)
	}()
	server, natsURL, err := startNATS(ctx, dir, false)
	if err != nil {
		return r, err
	}
	defer server.kill()
	passwords := localdb.NewPasswords()
	db, err := localdb.Start(ctx, localdb.Config{Dir: filepath.Join(dir, "clickhouse"), Passwords: passwords, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return r, err
	}
	defer func() { _ = db.Kill() }() // its files go too
	sql := clickhouse{url: db.Addrs().HTTP, passwords: map[string]string{
		localdb.MigratorUser: passwords.Migrator, localdb.ReaderUser: passwords.Reader, localdb.WriterUser: passwords.Writer,
	}}
	if _, err := sql.ask(ctx, localdb.MigratorUser, string(table)); err != nil {
		return r, err
	}
	stream, done, err := peerStream(ctx, natsURL)
	if err != nil {
		return r, err
	}
	defer done()
	peer, err := launch(dir, "bento", []string{
		"NATS_URL=" + natsURL, "CLICKHOUSE_URL=" + sql.url,
		"CLICKHOUSE_USER=" + localdb.WriterUser, "CLICKHOUSE_PASSWORD=" + passwords.Writer,
	}, bentoProgram, "-c", filepath.Join(b.peers, "bento", "bento.yaml"))
	if err != nil {
		return r, fmt.Errorf("%w; make bench-peers builds Bento", err)
	}
	defer peer.kill()
	if err := peer.until(ctx, "ready", func() bool { _, err := stream.PushConsumer(ctx, "bento"); return err == nil }); err != nil {
		return r, err
	}
	in := &installation{dir: dir, sql: sql, stages: []stage{{"bento", peer.cmd.Process.Pid}, {"nats", server.cmd.Process.Pid}, {database, db.Pid()}}}
	return r, r.measurePeer(ctx, in, natsURL, l)
}

// peerStream makes the stream that a peer reads.
func peerStream(ctx context.Context, url string) (jetstream.Stream, func(), error) {
	nc, err := nats.Connect(url)
	if err != nil {
		return nil, nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	stream, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "PEER", Subjects: []string{peerSubject}, Storage: jetstream.FileStorage})
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	return stream, nc.Close, nil
}

// measurePeer is measure for a program that gives no receipts.
func (r *result) measurePeer(ctx context.Context, in *installation, natsURL string, l load) error {
	watch := watchMemory(in.stages)
	defer watch.end()
	before, own, began := cpuOf(in.stages), ownCPU(), time.Now()
	if _, err := publish(ctx, natsURL, []string{peerSubject}, singlePending, l.bodies); err != nil {
		return err
	}
	own = ownCPU() - own
	for n := 0; n < l.events; {
		select {
		case <-ctx.Done():
			return fmt.Errorf("only %d of %d events arrived: %w", n, l.events, ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
		text, err := in.sql.ask(ctx, localdb.ReaderUser, "SELECT count() FROM peer_events FORMAT TSV")
		if err != nil {
			return err
		}
		if n, err = strconv.Atoi(text); err != nil {
			return err
		}
	}
	seconds := time.Since(began).Seconds()
	in.quiet(ctx)
	after := cpuOf(in.stages)
	text, err := in.sql.ask(ctx, localdb.ReaderUser, "SELECT count(), uniqExact(event_id) FROM peer_events FORMAT TSV")
	if err != nil {
		return err
	}
	if text != fmt.Sprintf("%d\t%d", l.events, l.events) {
		return errors.New("events were lost or doubled: sent " + strconv.Itoa(l.events) + ", rows and distinct ids " + text)
	}
	r.price(in.stages, before, after)
	r.Figures[figRate] = float64(l.events) / seconds
	r.Figures[figGenerator] = own / float64(l.events) * 1e6
	watch.figures(r)
	return nil
}
