package enricher

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/libs/bus"
)

func TestRetriesGrowAreCappedAndDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d delay
		differ := false
		for i := range 20 {
			began, most := time.Now(), min(delayFirst<<min(i, 10), delayLast)
			if !d.sleep(t.Context()) {
				t.Fatal("the sleep was ended")
			}
			got := time.Since(began)
			if got <= most/2 || got > most {
				t.Errorf("sleep %d took %s, want %s to %s", i, got, most/2, most)
			}
			differ = differ || got != most
		}
		if !differ {
			t.Error("nothing is left to chance: all shards come at once")
		}
	})
}

// A shard whose frames are refused is named with the reason while it goes on
// trying, and no more when it has got through.
func TestAShardThatCannotPublishIsNamed(t *testing.T) {
	r := newRig(t, 1)
	name := r.inst.Names.StreamEnriched(0)
	x := r.enricher()
	eventually(t, "it is open", func() bool { return x.e.check() == nil })
	cfg := r.stream(name).CachedInfo().Config
	full := cfg
	full.MaxBytes = 1
	if _, err := r.js.UpdateStream(t.Context(), full); err != nil {
		t.Fatal(err)
	}
	r.raw(0, sent{id: "a"})
	eventually(t, "the shard is named", func() bool {
		err := x.e.check()
		return err != nil && strings.Contains(err.Error(), "shard 0 is stuck: ") && strings.Contains(err.Error(), bus.StuckFull)
	})
	if x.metric("shard_stuck", bus.StuckFull) != 1 || len(x.e.stuck()) != 1 {
		t.Errorf("the metric says %v, others are told %+v", x.metric("shard_stuck"), x.e.stuck())
	}
	if _, err := r.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is named no more", func() bool { return x.e.check() == nil && x.metric("shard_stuck") == 0 })
	if stuckReason(errors.New("anything")) != bus.StuckNATS {
		t.Error("what the enricher talks to is NATS")
	}
}
