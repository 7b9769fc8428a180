package proxy_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go"

	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/eventdb"
	"github.com/millrace/millrace/libs/localdb"
	"github.com/millrace/millrace/libs/testkit"
	"github.com/millrace/millrace/libs/testkit/proxy"
)

const inserted = 20_000

// An insert through each of ClickHouse's protocols, with its reply lost and cut
// in the middle. One server, because it takes a second to start.
func TestClickHouse(t *testing.T) {
	db := testkit.StartClickHouse(t)
	native, web := testkit.StartProxy(t, db.Addrs().Native), testkit.StartProxy(t, db.Addrs().HTTP)
	rows := make([]testkit.Row, inserted)
	for i := range rows {
		rows[i] = testkit.Row{Source: "shop", Event: "order placed", UserID: "u" + strings.Repeat("x", i%40), Timestamp: time.Unix(1_770_000_000, 0)}
	}
	block := testkit.Block(0, 1, rows...)
	middle := testkit.InsertedRows
	middle.After = block.Size() / 2
	ways := []struct {
		name   string
		p      *proxy.Proxy
		reply  proxy.Match
		insert func(ctx context.Context, token string) error
	}{
		{"native", native, testkit.InsertedRows, func(ctx context.Context, token string) error {
			return insertNative(ctx, db.Config(localdb.WriterUser, native), block, token)
		}},
		{"http", web, proxy.Match{Has: "POST /"}, func(ctx context.Context, token string) error {
			return insertHTTP(ctx, "http://"+web.Addr(), db.Password(localdb.WriterUser), block, token)
		}},
	}
	count := func() uint64 { return db.Count("SELECT count() FROM events") }
	for _, way := range ways {
		insert := func(token string) error {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			return way.insert(ctx, token)
		}
		t.Run(way.name+" reply lost", func(t *testing.T) {
			db.Exec("TRUNCATE TABLE events")
			way.p.LoseReplies(1, way.reply)
			if err := insert("lost"); err == nil {
				t.Fatal("the insert was answered")
			}
			// What was cut may be a word of progress, before the rows are there.
			testkit.Eventually(t, "the rows are there", func() bool { return count() == inserted })
			if err := insert("lost"); err != nil {
				t.Fatalf("repeated: %v", err)
			}
			if got := count(); got != inserted {
				t.Fatalf("%d rows after the repeat with its token, want %d", got, inserted)
			}
		})
		t.Run(way.name+" cut in the middle", func(t *testing.T) {
			db.Exec("TRUNCATE TABLE events")
			way.p.CutInside(proxy.Up, 1, middle)
			if err := insert("cut"); err == nil {
				t.Fatal("the insert was answered")
			}
			if got := way.p.Stats().Inside; got != 1 {
				t.Fatalf("cut %d times", got)
			}
			if got := count(); got != 0 {
				t.Fatalf("%d rows of half an insert", got)
			}
			if err := insert("cut"); err != nil {
				t.Fatalf("repeated: %v", err)
			}
			if got := count(); got != inserted {
				t.Fatalf("%d rows after the repeat, want %d", got, inserted)
			}
		})
		// The zombie: its client gave up long ago when its rows arrive.
		t.Run(way.name+" stalled and late", func(t *testing.T) {
			db.Exec("TRUNCATE TABLE events")
			way.p.StallInside(proxy.Up, 1, middle)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := way.insert(ctx, "late"); err == nil {
				t.Fatal("the insert was answered")
			}
			if got := count(); got != 0 {
				t.Fatalf("%d rows during the stall", got)
			}
			way.p.Heal()
			testkit.Eventually(t, "the rows of the client that gave up arrive", func() bool { return count() == inserted })
			if err := insert("late"); err != nil {
				t.Fatal(err)
			}
			if got := count(); got != inserted {
				t.Fatalf("%d rows after the repeat with its token, want %d", got, inserted)
			}
		})
	}
}

func insertNative(ctx context.Context, cfg eventdb.Config, block *frame.Block, token string) error {
	client, err := eventdb.Dial(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	return client.Do(ctx, ch.Query{
		Body: eventdb.InsertEvents(), Input: eventdb.Input(block),
		Settings: []ch.Setting{{Key: "insert_deduplication_token", Value: token, Important: true}},
	})
}

func insertHTTP(ctx context.Context, base, password string, block *frame.Block, token string) error {
	names := strings.TrimSuffix(eventdb.InsertEvents(), " VALUES")
	q := url.Values{"query": {names + " FORMAT Native"}, "database": {"millrace"}, "async_insert": {"0"}, "insert_deduplication_token": {token}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/?"+q.Encode(), bytes.NewReader(block.AppendNative(nil)))
	if err != nil {
		return err
	}
	req.SetBasicAuth(localdb.WriterUser, password)
	tr := &http.Transport{DisableKeepAlives: true}
	res, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		return fmt.Errorf("insert: %s: %s", res.Status, text)
	}
	return err
}
