package query

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/libs/bus/sources"
	"github.com/millrace/millrace/libs/bus/writekey"
	"github.com/millrace/millrace/services/query/access"
)

// TestAGoodKeyIsNeverUnknownWhileStarting: the sources are read between the
// moment in which a key is looked up and the one in which it is refused.
func TestAGoodKeyIsNeverUnknownWhileStarting(t *testing.T) {
	r := newRig(t, 1)
	store, err := sources.Open(t.Context(), r.js, r.inst.Names)
	r.must(err)
	key, k := sources.NewKey(time.Now(), "")
	_, err = store.Add(t.Context(), sources.Record{Name: "shop", Keys: []sources.Key{k}})
	r.must(err)
	log := slog.New(slog.DiscardHandler)
	for range 300 { // as many starts
		known := sources.New(writekey.Keys{}, log)
		ring, err := access.New(access.Config{APIKeys: []string{"0123456789abcdef"}, Sources: known, SourceKeys: true, Log: log})
		r.must(err)
		g := newGuard(ring)
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() {
				asked := httptest.NewRequest(http.MethodPost, "/v1/ask", nil)
				asked.Header.Set("X-Write-Key", key)
				_, p := g.admit(asked)
				for ; p != nil && p.Status == http.StatusServiceUnavailable; _, p = g.admit(asked) {
				}
				if p != nil {
					t.Errorf("a good key is told %v", p)
				}
			})
		}
		run := make(chan struct{})
		go func() { defer close(run); _ = known.Run(ctx, r.js, r.inst.Names) }()
		all.Wait()
		cancel()
		<-run
		if t.Failed() {
			return
		}
	}
}
