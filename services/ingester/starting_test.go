package ingester

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/millrace/millrace/libs/bus/sources"
	"github.com/millrace/millrace/libs/bus/writekey"
)

// TestAGoodKeyIsNeverUnknownWhileStarting: the sources are read between the
// moment in which a key is looked up and the one in which it is refused.
func TestAGoodKeyIsNeverUnknownWhileStarting(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	_, key := r.register(sources.Record{Name: "web"})
	asked := httptest.NewRequest(http.MethodGet, "/v1/projects/"+key+"/settings", nil)
	for what, ask := range map[string]func(*Ingester) error{
		"sender": func(s *Ingester) error { _, err := s.sender(key); return err },
		"settings": func(s *Ingester) error {
			_, err := s.settings(httptest.NewRecorder(), asked, &route{arg: key})
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			for range 300 { // as many starts
				ctx, cancel := context.WithCancel(t.Context())
				s := &Ingester{sources: sources.New(writekey.Keys{}, discard())}
				var all sync.WaitGroup
				for range 2 {
					all.Go(func() {
						err := ask(s)
						for ; errors.Is(err, errStarting); err = ask(s) {
						}
						if err != nil {
							t.Errorf("a good key is told %v", err)
						}
					})
				}
				run := make(chan struct{})
				go func() { defer close(run); _ = s.sources.Run(ctx, r.js, r.names) }()
				all.Wait()
				cancel()
				<-run
				if t.Failed() {
					return
				}
			}
		})
	}
}
