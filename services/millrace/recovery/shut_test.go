package recovery

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/libs/bus"
)

// once is a fault that does something the first time a step is come to.
func once(step string, do func() error) func(*Config) {
	return func(c *Config) {
		done := false
		c.fault = func(s string) error {
			if s != step || done {
				return nil
			}
			done = true
			return do()
		}
	}
}

func killed() error { return errKilled }

// From before the look on nobody can append, neither a service that nobody has
// seen running nor one that starts.
func TestNobodyAppendsMeanwhile(t *testing.T) {
	m := newMill(t)
	m.restore(m.twoHalves(m.names.StreamRaw(0), m.names.StreamRaw(1)))
	m.start("ingester")
	_, err := m.apply(once("copies", func() error {
		if _, err := bus.Open(t.Context(), m.nats.Connect(), m.names); !errors.Is(err, bus.ErrRecovering) {
			t.Errorf("a service that starts gets %v", err)
		}
		for i := range 4 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if m.try(ctx, fmt.Sprintf(`{"userId":"late%d","event":"Late"}`, i)) {
				t.Error("an event was accepted that nothing will carry over")
			}
			cancel()
		}
		return nil
	}))
	m.must(err)
	m.stop()
	m.exact(0)
}

// Whoever writes although nobody can have been running is found out before
// anything is cut away.
func TestSomebodyWritesMeanwhile(t *testing.T) {
	m := newMill(t)
	m.restore(m.twoHalves(m.names.StreamRaw(0), m.names.StreamRaw(1)))
	js := m.nats.Connect()
	_, err := m.apply(once("copies", func() error {
		_, err := js.Publish(t.Context(), m.names.Ledger(0), []byte("{}"))
		return err
	}))
	if !errors.Is(err, ErrRunning) {
		t.Errorf("it says %v", err)
	}
	if _, err := bus.Open(t.Context(), js, m.names); err != nil {
		t.Errorf("nothing was decided, and the streams are shut: %v", err)
	}
	m.recovered(DoMove) // past a record that cannot be read, of which verify complains
	m.counted(0)
}

// A run that was killed before it had decided leaves the streams shut; the next
// one opens them, also when nothing is wrong.
func TestKilledBeforeTheDecision(t *testing.T) {
	m := newMill(t)
	m.start()
	m.send(20)
	m.settled()
	m.stop()
	js := m.nats.Connect()
	inst, err := bus.Open(t.Context(), js, m.names)
	m.must(err)
	m.must(bus.Shut(t.Context(), js, inst, plan()))
	if rep := m.look(); !rep.Unfinished || rep.Healthy() {
		t.Errorf("it does not say that the streams are shut: %+v", rep)
	}
	rep, err := m.apply()
	m.must(err)
	if rep.Do != DoNothing || !rep.Healthy() {
		t.Errorf("it did %s", rep.Do)
	}
	if rep := m.look(); !rep.Healthy() {
		t.Errorf("afterwards it is not healthy: %+v", rep)
	}
	m.exact(0)
}

// A run that was killed when the streams were open again is over, whatever the
// services have done since.
func TestKilledAfterTheStreamsWereOpened(t *testing.T) {
	m := newMill(t)
	m.restore(m.twoHalves(m.names.StreamRaw(0), m.names.StreamEnriched(1)))
	m.start("ingester")
	m.send(20)
	m.stop()
	if _, err := m.apply(once("forget the copies", killed)); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	m.start()
	m.send(20)
	m.settled()
	m.stop()
	js := m.nats.Connect()
	for shard := range shards { // the copies are trimmed
		m.must(bus.Purge(t.Context(), js, m.names.StreamRaw(shard), m.share(js, shard).Proven))
	}
	if rep := m.look(); !rep.Healthy() {
		t.Errorf("it does not say that all is well: %+v", rep)
	}
	rep, err := m.apply()
	m.must(err)
	if !rep.Applied || rep.Do != DoMove || rep.File == "" {
		t.Errorf("it does not say that it was done: %+v", rep)
	}
	if rep, err := m.apply(); err != nil || rep.Applied {
		t.Errorf("once more it does %s: %v", rep.Do, err)
	}
	m.exact(0)
}

// An insert that the ledger announced long ago may have been sent a moment ago.
func TestQuietCountsFromTheLastSignOfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &run{cfg: Config{Quiet: 45 * time.Second, Progress: func(string) {}}, alive: time.Now()}
		r.shards = []*shard{{share: bus.Share{Open: &bus.Range{}, At: time.Now().Add(-time.Hour)}}}
		began := time.Now()
		time.Sleep(5 * time.Second)
		if err := r.quiet(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 45*time.Second {
			t.Errorf("it waited until %s after it", took)
		}
	})
}
