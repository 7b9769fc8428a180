package up_test

import (
	"context"
	"encoding/json"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/services/millrace/up"
)

// installation starts all of Millrace in the test's process, as a module
// outside this repository can (docs/testing.md), and ends it with the test.
func installation(t *testing.T) up.Ready {
	t.Helper()
	var cfg up.Config
	cfg.RegisterFlags(flag.NewFlagSet("", flag.PanicOnError)) // sets the defaults
	cfg.Dir, cfg.MaxDisk, cfg.Shards = t.TempDir(), 2<<30, 1
	cfg.IngestAddr, cfg.QueryAddr, cfg.AdminAddr = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	cfg.NATSPort, cfg.ClickHouseHTTPPort, cfg.ClickHouseNativePort = 0, 0, 0 // any that is free
	cfg.Out, cfg.Log = io.Discard, slog.New(slog.DiscardHandler)

	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() {
		defer close(ended)
		ended <- up.Run(ctx, cfg)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	deadline := time.Now().Add(time.Minute)
	for {
		ready, err := up.ReadReady(cfg.Dir)
		if err == nil {
			return ready
		}
		select {
		case err := <-ended:
			t.Fatalf("it ended: %v", err)
		case <-time.After(20 * time.Millisecond):
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
		}
	}
}

func post(t *testing.T, where, key, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, where, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s %v", where, res.Status, text, err)
	}
	return string(text)
}

func TestAWholeInstallationInATest(t *testing.T) {
	at := installation(t)
	var sent struct{ Receipt string }
	answer := post(t, at.Ingest+"/v1/events", at.WriteKey, `{"type":"track","userId":"ann","event":"order placed"}`)
	if err := json.Unmarshal([]byte(answer), &sent); err != nil {
		t.Fatal(err)
	}
	// The answer waits until the event is in it.
	rows := post(t, at.Query+"/v1/sql?format=TSV&after="+url.QueryEscape(sent.Receipt), "", "SELECT user_id, event FROM events")
	if rows != "ann\torder placed\n" {
		t.Errorf("rows %q", rows)
	}
}
