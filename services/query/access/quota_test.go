package access

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/services/query/problem"
)

func TestQuota(t *testing.T) {
	refused := func(t *testing.T, k *Key, retry time.Duration, word string) {
		t.Helper()
		_, err := k.Take()
		var p *problem.Problem
		if !errors.As(err, &p) || p.Status != http.StatusTooManyRequests || !p.Of(problem.Quota) || !strings.Contains(p.Detail, word) {
			t.Fatalf("%v, want a 429 about %s", err, word)
		}
		if diff := p.Retry - retry; diff < -time.Second || diff > time.Second {
			t.Errorf("again in %s, want %s", p.Retry, retry)
		}
	}
	take := func(t *testing.T, k *Key) func() {
		t.Helper()
		done, err := k.Take()
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	with := func(q Quota) *Key {
		k := NewKey("k", nil, SQL)
		k.quota = q
		return k
	}
	t.Run("none", func(t *testing.T) {
		k := with(Quota{})
		for range 1000 {
			take(t, k)
		}
	})
	t.Run("a minute", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			k := with(Quota{PerMinute: 6})
			for range 6 {
				take(t, k)()
			}
			refused(t, k, 10*time.Second, "minute")
			time.Sleep(10 * time.Second)
			take(t, k)()
			refused(t, k, 10*time.Second, "minute")
			time.Sleep(time.Hour) // saved up are no more than a minute's
			for range 6 {
				take(t, k)()
			}
			refused(t, k, 10*time.Second, "minute")
		})
	})
	t.Run("at once", func(t *testing.T) {
		k := with(Quota{Concurrent: 2})
		first, second := take(t, k), take(t, k)
		refused(t, k, time.Second, "same time")
		first()
		first() // once counts
		third := take(t, k)
		refused(t, k, time.Second, "same time")
		second()
		third()
	})
	t.Run("an hour", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			k := with(Quota{SecondsPerHour: 100})
			for range 2 {
				done := take(t, k)
				time.Sleep(time.Minute)
				done()
			}
			refused(t, k, 59*time.Minute, "hour") // when the first one's minute has left
			time.Sleep(59*time.Minute + time.Second)
			take(t, k)()
		})
	})
	if d := with(Quota{MaxTime: time.Second}).MaxTime(time.Minute); d != time.Second {
		t.Error(d)
	}
	if d := with(Quota{MaxTime: time.Hour}).MaxTime(time.Minute); d != time.Minute {
		t.Error(d)
	}
}
