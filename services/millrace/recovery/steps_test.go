package recovery

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/testkit"
)

var errKilled = errors.New("killed")

// A run that ends before any of its steps is taken up by another one, and the
// services stay shut meanwhile once anything was decided.
func TestKilledAtEveryStep(t *testing.T) {
	m := newMill(t)
	m.restore(m.twoHalves(m.names.StreamRaw(0), m.names.StreamEnriched(1)))
	m.start("ingester")
	m.send(20) // so that there is something to append
	m.stop()
	killed := map[string]bool{}
	for {
		passed, where := map[string]int{}, ""
		rep, err := m.apply(func(c *Config) {
			c.fault = func(step string) error {
				passed[step]++
				where = fmt.Sprintf("%s, the %d. time", step, passed[step])
				if killed[where] {
					return nil
				}
				killed[where] = true
				return errKilled
			}
		})
		if err == nil {
			m.show("done", rep)
			break
		}
		if !errors.Is(err, errKilled) {
			t.Fatalf("after %d kills: %v", len(killed), err)
		}
		t.Logf("killed before %s", where)
	}
	if len(killed) < 20 {
		t.Errorf("killed %d times only", len(killed))
	}
	m.exact(0)
}

// While a recovery is not finished nothing opens.
func TestUnfinishedKeepsServicesOut(t *testing.T) {
	m := newMill(t)
	m.restore(m.twoHalves(m.names.StreamEnriched(0)))
	_, err := m.apply(func(c *Config) {
		c.fault = func(step string) error {
			if step == "appended" {
				return errKilled
			}
			return nil
		}
	})
	if !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	js := m.nats.Connect()
	if _, err := bus.Open(t.Context(), js, m.names); !errors.Is(err, bus.ErrRecovering) {
		t.Errorf("the streams open: %v", err)
	}
	if _, err := bus.Provision(t.Context(), js, m.names, plan()); !errors.Is(err, bus.ErrRecovering) {
		t.Errorf("the streams are provisioned: %v", err)
	}
	if rep := m.look(); !rep.Unfinished || rep.Do != DoMove {
		t.Errorf("it does not say that it is unfinished: %+v", rep)
	}
	rep, err := m.apply()
	m.must(err)
	m.show("done", rep)
	m.exact(0)
}

// visible waits until a service shows that it runs.
func (m *mill) visible(service string) {
	m.Helper()
	v, err := New(m.config())
	m.must(err)
	r, err := open(m.Context(), v.cfg)
	m.must(err)
	defer r.close()
	testkit.Eventually(m, service+" can be seen", func() bool {
		found := map[string]bool{}
		m.must(r.consumers(m.Context(), found))
		leases, err := r.leases(m.Context())
		m.must(err)
		all := append(slices.Collect(maps.Keys(found)), slices.Collect(maps.Keys(leases))...)
		return slices.ContainsFunc(all, func(who string) bool { return strings.Contains(who, service) })
	})
}

// Services that run keep a recovery from doing anything, each of those that
// write.
func TestRefusesWhileServicesRun(t *testing.T) {
	m := newMill(t)
	m.restore(m.twoHalves(m.names.StreamRaw(0), m.names.StreamRaw(1)))
	for _, name := range []string{"ingester", "enricher", "indexer"} {
		m.start(name)
		m.visible(name)
		if name == "enricher" {
			cfg := m.config()
			cfg.Alone = false
			v, err := New(cfg)
			m.must(err)
			if _, err := v.Look(t.Context()); !errors.Is(err, ErrRunning) {
				t.Errorf("a look at running services: %v", err)
			}
		}
		_, err := m.apply(func(c *Config) { c.Alone = false })
		if !errors.Is(err, ErrRunning) || !strings.Contains(err.Error(), name) {
			t.Errorf("with %s running: %v", name, err)
		}
		m.stop()
	}
	_, err := m.apply(func(c *Config) { c.Alone = false })
	m.must(err)
	m.exact(0)
}

// What a sender repeats after a recovery is still a repeat, also of events whose
// logs are gone.
func TestRepeatsAreStillKnown(t *testing.T) {
	m := newMill(t)
	m.twoHalves()
	m.restore(map[string]string{"": ""})
	m.recovered(DoMove)
	m.start()
	for i := 1; i <= 110; i++ {
		m.post(fmt.Sprintf(`{"userId":"u%d","event":"Sent","messageId":"event-%d","properties":{"n":%d}}`, i%13, i, i))
	}
	r := m.exact(0)
	if r.Repeats != 110 {
		t.Errorf("%d repeats, want 110", r.Repeats)
	}
}

// Messages of the NATS door that were stored and not acknowledged come again
// after the recovery, under the ids that they had; new ones never get an id
// that was given.
func TestTheNATSDoor(t *testing.T) {
	m := newMill(t)
	publish := func(n int) {
		js := m.nats.Connect()
		for i := range n {
			_, err := js.Publish(t.Context(), m.names.In("shop"), fmt.Appendf(nil, `{"userId":"u%d","event":"In","properties":{"i":%d}}`, i%7, i))
			m.must(err)
		}
	}
	m.start()
	publish(30)
	m.send(20)
	m.settled()
	m.stop()
	publish(10) // they wait in the backup, and are rows by the time it is restored
	before := m.backup("")
	m.start()
	publish(30)
	m.settledIn(70)
	m.send(20) // later than those
	m.settled()
	m.stop()
	m.restore(before) // IN is an older one: its numbers are given again
	m.window = 1      // so that nothing but the look at IN knows what waits there
	m.recovered(DoMove)
	publish(40)
	m.start()
	m.settledIn(110)
	r := m.exact(0)
	if r.Repeats != 10 {
		t.Errorf("%d repeats, want the 10 that waited", r.Repeats)
	}
	if n, d := m.db.Count("SELECT count() FROM events WHERE event = 'In'"), m.db.Count("SELECT uniqExact(event_id) FROM events WHERE event = 'In'"); n != 110 || d != 110 {
		t.Errorf("%d rows with %d ids, want 110", n, d)
	}
}
