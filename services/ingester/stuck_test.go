package ingester

import (
	"testing"

	"github.com/millrace/millrace/libs/bus"
)

// A shard that takes no events is named, and no more once it does, also when
// nobody has sent anything since.
func TestWhatIsStuckAtTheDoorIsNamed(t *testing.T) {
	n := startNATS(t)
	r := startRig(t, n).opened()
	r.post(good("u1", 1)).want(t, 200)
	stuck := func(lane int) (reason string) {
		for _, w := range r.in.door.stuck() {
			if w.Lane == lane {
				reason = w.Reason
			}
		}
		return reason
	}
	n.stop()
	eventually(t, "a shard whose stream gives no answer", func() bool { return r.notReady("shards", "shard 0 is stuck") })
	if got := stuck(0); got != bus.StuckNATS {
		t.Errorf("others are told %q", got)
	}
	n.start()
	eventually(t, "ready again", func() bool { _, ready := r.health.Check(t.Context()); return ready && stuck(0) == "" })
	r.post(good("u1", 2)).want(t, 200)
}
