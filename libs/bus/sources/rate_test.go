package sources

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(Record{Name: "shop", Rate: Rate{EventsPerSecond: 10, BytesPerSecond: 1000, BurstSeconds: 2}}, nil)
		take := func(events, bytes int, want time.Duration) {
			t.Helper()
			if wait, ok := s.Take(time.Now(), events, bytes); ok != (want == 0) || wait != want {
				t.Errorf("%d events of %d bytes: %v, %s; want %s", events, bytes, ok, wait, want)
			}
		}
		take(20, 100, 0) // the whole burst
		take(1, 1, time.Second)
		if wait, spent := s.Spent(time.Now()); !spent || wait != time.Second {
			t.Errorf("spent %v, %s", spent, wait)
		}
		time.Sleep(time.Second)
		take(11, 1, time.Second) // refused ones cost nothing
		take(10, 1, 0)
		time.Sleep(2 * time.Second)
		take(1, 2000, 0)
		take(1, 1500, 2*time.Second) // 1.5 s, up to whole seconds
		time.Sleep(time.Hour)
		// More than the bucket can hold passes when it is full, and is a debt then.
		take(50, 1, 0)
		take(1, 1, 4*time.Second) // 50-20 in debt, and one: 3.1 s
		time.Sleep(3100 * time.Millisecond)
		take(1, 1, 0)
		take(1, 1, time.Second)

		// A source that is written anew keeps what it has used, unless its rate is another.
		same := newSource(Record{Name: "shop", Rate: s.record.Rate, Origins: []string{"https://a.org"}}, s)
		if _, ok := same.Take(time.Now(), 1, 1); ok {
			t.Error("what was used is forgotten")
		}
		other := newSource(Record{Name: "shop", Rate: Rate{EventsPerSecond: 5}}, same)
		if _, ok := other.Take(time.Now(), 25, 1<<30); !ok {
			t.Error("a new rate does not begin with a full burst of 5 seconds, or bounds bytes")
		}
		if _, ok := newSource(Record{Name: "shop"}, nil).Take(time.Now(), 1<<20, 1<<30); !ok {
			t.Error("a source without rates is bounded")
		}
	})
}
