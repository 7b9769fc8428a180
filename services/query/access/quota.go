package access

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/millrace/millrace/services/query/problem"
)

// Quota bounds what a key may ask of ClickHouse; 0 bounds nothing. Each query service counts for itself.
type Quota struct {
	PerMinute      int           `yaml:"per_minute"`       // questions; as many may come at once
	Concurrent     int           `yaml:"concurrent"`       // questions that run at the same time
	SecondsPerHour int           `yaml:"seconds_per_hour"` // of questions that run, added up over the last hour
	MaxTime        time.Duration `yaml:"max_time"`         // of one question

	// Of write keys, instead of PerMinute: questions, of which Burst may come at once.
	PerSecond int `yaml:"-"`
	Burst     int `yaml:"-"`
}

// bucket is how many questions come in a second, and how many may at once. A rate of 0 bounds nothing.
func (q Quota) bucket() (rate, size float64, what string) {
	if q.PerSecond > 0 {
		return float64(q.PerSecond), float64(max(q.Burst, 1)), fmt.Sprintf("ask %d questions a second", q.PerSecond)
	}
	return float64(q.PerMinute) / 60, float64(q.PerMinute), fmt.Sprintf("ask %d questions a minute", q.PerMinute)
}

func (q Quota) validate() error {
	if q.PerMinute < 0 || q.Concurrent < 0 || q.SecondsPerHour < 0 || q.MaxTime < 0 {
		return fmt.Errorf("a quota is negative: %+v", q)
	}
	return nil
}

// usage is what a key has used. It outlives the key when its file is read again.
type usage struct {
	mu      sync.Mutex // guards all below
	running int
	tokens  float64 // questions that may be asked now
	filled  time.Time
	spent   [60]minute // a ring over the last hour
}

// minute is what was used in one minute of the clock.
type minute struct {
	at    int64 // minutes since 1970
	spent time.Duration
}

// Take counts a question that begins. It returns a problem (429) when the quota is used up; else done must be called when
// the question has ended. A question that is running when the hour's seconds are used up may end.
func (k *Key) Take() (done func(), err error) {
	u, q := k.used, k.quota
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	refuse := func(retry time.Duration, what string) (func(), error) {
		p := problem.New(http.StatusTooManyRequests, problem.Quota, fmt.Sprintf("the key %s may %s", k.name, what))
		p.Retry = retry
		return nil, p
	}
	if q.Concurrent > 0 && u.running >= q.Concurrent && !k.seated {
		return refuse(time.Second, fmt.Sprintf("ask %d questions at the same time, live readers included", q.Concurrent))
	}
	if q.SecondsPerHour > 0 {
		limit := time.Duration(q.SecondsPerHour) * time.Second
		if used := u.spentBy(now); used >= limit {
			return refuse(u.untilBelow(now, used-limit), fmt.Sprintf("let ClickHouse work %s an hour, and it did %s", limit, used.Round(time.Second)))
		}
	}
	if rate, size, what := q.bucket(); rate > 0 {
		if u.filled.IsZero() {
			u.tokens = size
		} else {
			u.tokens = min(size, u.tokens+rate*now.Sub(u.filled).Seconds())
		}
		u.filled = now
		if u.tokens < 1 {
			return refuse(time.Duration((1-u.tokens)/rate*float64(time.Second)), what)
		}
		u.tokens--
	}
	if !k.seated {
		u.running++
	}
	var once sync.Once
	return func() {
		once.Do(func() {
			u.mu.Lock()
			defer u.mu.Unlock()
			if !k.seated {
				u.running--
			}
			u.spend(time.Now(), time.Since(now))
		})
	}, nil
}

// Sit counts a reader that stays, as one of the questions that run at the same time and as nothing else. The questions that
// it asks one after the other are asked as seated, which does not count that again. leave must be called when it has left.
func (k *Key) Sit() (seated *Key, leave func(), err error) {
	u := k.used
	u.mu.Lock()
	defer u.mu.Unlock()
	if most := k.quota.Concurrent; most > 0 && u.running >= most {
		p := problem.New(http.StatusTooManyRequests, problem.Quota,
			fmt.Sprintf("the key %s may ask %d questions at the same time, live readers included", k.name, most))
		p.Retry = time.Second
		return nil, nil, p
	}
	u.running++
	copied := *k
	copied.seated = true
	return &copied, sync.OnceFunc(func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.running--
	}), nil
}

// MaxTime is how long one question of the key may take at most, given what the service allows.
func (k *Key) MaxTime(service time.Duration) time.Duration {
	if k.quota.MaxTime > 0 {
		return min(k.quota.MaxTime, service)
	}
	return service
}

func (u *usage) spend(now time.Time, d time.Duration) {
	at := now.Unix() / 60
	m := &u.spent[at%int64(len(u.spent))]
	if m.at != at {
		*m = minute{at: at}
	}
	m.spent += d
}

// recent says whether a minute is of the last hour.
func (m minute) recent(now time.Time) bool { return m.at > now.Unix()/60-60 }

func (u *usage) spentBy(now time.Time) (sum time.Duration) {
	for _, m := range u.spent {
		if m.recent(now) {
			sum += m.spent
		}
	}
	return sum
}

// untilBelow is when minutes will have left the hour that hold more than over.
func (u *usage) untilBelow(now time.Time, over time.Duration) time.Duration {
	for at := now.Unix()/60 - 59; at <= now.Unix()/60; at++ {
		if m := u.spent[at%int64(len(u.spent))]; m.at == at {
			if over -= m.spent; over < 0 {
				return time.Unix((at+60)*60, 0).Sub(now)
			}
		}
	}
	return time.Hour
}
