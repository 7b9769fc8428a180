package compat

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/libs/testkit"
)

// sdk is a library of others.
type sdk interface {
	// calls makes every call that the SDK has, waits until it has sent them, and returns the rows that must be there.
	calls(t *testing.T, door, key string) []want
	// steady sends event n with the property n, 0, 1, ..., until somebody says until, then what is left, and returns how
	// many that were.
	steady(t testing.TB, door, key string, until <-chan struct{}) int
}

// TestSDKs sends with each SDK to a source of its own: first every call once,
// then all SDKs through the same outages.
func TestSDKs(t *testing.T) {
	browser := newChromium(t)
	sdks := map[string]sdk{
		"segment-go":    segmentGo{},
		"rudder-go":     rudderGo{},
		"posthog-go":    posthogGo{},
		"segment-node":  node("segment.mjs"),
		"rudder-node":   node("rudder.mjs"),
		"posthog-node":  node("posthog.mjs"),
		"cloudevents":   node("cloudevents.mjs"),
		"segment-web":   page{browser, "segment.html"},
		"segment-paste": page{browser, "paste.html"},
		"posthog-web":   page{browser, "posthog.html"},
	}
	var sources []string
	for name := range sdks {
		sources = append(sources, name, name+"-steady")
	}
	m := newMill(t, sources)
	t.Run("calls", func(t *testing.T) {
		for name, s := range sdks {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				m.check(t, name, s.calls(t, m.door, keyOf(name)))
			})
		}
	})
	m.noDeadLetters(t)
	t.Run("outage", func(t *testing.T) { m.outage(t, sdks) })
	m.noDeadLetters(t)
}

// outage stops NATS for 20 s and then stalls its network for longer than the
// door holds requests, while every SDK sends.
func (m *mill) outage(t *testing.T, sdks map[string]sdk) {
	until := make(chan struct{})
	var mu sync.Mutex
	sent := map[string]int{}
	var group sync.WaitGroup
	for name, s := range sdks {
		group.Go(func() {
			n := s.steady(t, m.door, keyOf(name+"-steady"), until)
			mu.Lock()
			defer mu.Unlock()
			sent[name] = n
		})
	}
	flows := func(what string) {
		t.Helper()
		before := map[string]int{}
		for name := range sdks {
			before[name] = len(m.steadyRows(t, name))
		}
		testkit.Eventually(t, what, func() bool {
			for name := range sdks {
				if len(m.steadyRows(t, name)) <= before[name]+5 {
					return false
				}
			}
			return true
		})
	}
	flows("events of every SDK before")
	m.nats.Stop()
	time.Sleep(20 * time.Second) // the length is the point: longer than the patience of every SDK
	m.nats.Start()
	flows("events of every SDK after NATS was away")
	m.wire.Stall()
	time.Sleep(10 * time.Second) // and now NATS is there and says nothing
	m.wire.Heal()
	flows("events of every SDK after NATS was silent")
	close(until)
	group.Wait()
	for name := range sdks {
		t.Run(name, func(t *testing.T) { m.once(t, name, sent[name]) })
	}
}

// steadyRows are the numbers of the events of an SDK that are there, sorted.
func (m *mill) steadyRows(t testing.TB, name string) []int {
	t.Helper()
	text := m.ask(t, "SELECT properties['n'] FROM events WHERE source = {source:String} AND event = 'steady' FORMAT TSVRaw", name+"-steady")
	var list []int
	for line := range strings.FieldsSeq(string(text)) {
		n, err := strconv.Atoi(line)
		if err != nil {
			t.Fatalf("%s: property n is %q", name, line)
		}
		list = append(list, n)
	}
	slices.Sort(list)
	return list
}

// once waits for n events and fails unless each is there once.
func (m *mill) once(t *testing.T, name string, n int) {
	if n < 100 {
		t.Errorf("it sent %d events, want some hundreds", n)
	}
	var there []int
	testkit.Eventually(t, strconv.Itoa(n)+" events", func() bool {
		there = m.steadyRows(t, name)
		return len(slices.Compact(slices.Clone(there))) >= n
	})
	if len(there) != n {
		t.Errorf("%d rows of %d events: %s", len(there), n, twice(there))
	}
	t.Logf("%d events, each once", n)
}

func twice(sorted []int) string {
	var list []int
	for i := 1; i < len(sorted); i++ {
		if sorted[i] == sorted[i-1] {
			list = append(list, sorted[i])
		}
	}
	text, _ := json.Marshal(list) // numbers
	return "twice " + string(text)
}
