package query

import (
	"testing"

	"github.com/millrace/millrace/libs/testkit"
)

// TestLagIsOfTheStageThatHasTheWork: what is not enriched is the enricher's, what is not proven the indexer's.
func TestLagIsOfTheStageThatHasTheWork(t *testing.T) {
	r := newRig(t, 2)
	l := r.lane(1)
	l.block(part{}, part{})
	l.frames(part{skip: true}, part{skip: true})
	l.rawFrame(1, 5, "x")
	testkit.Eventually(t, "the lag of both stages is seen", func() bool {
		lag := r.svc.metrics.lag
		return gauge(t, lag.WithLabelValues("1", "enricher")) == 1 && gauge(t, lag.WithLabelValues("1", "indexer")) == 2 &&
			gauge(t, lag.WithLabelValues("0", "enricher"))+gauge(t, lag.WithLabelValues("0", "indexer")) == 0
	})
}
