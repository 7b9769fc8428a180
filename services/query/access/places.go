package access

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/millrace/millrace/services/query/problem"
)

// share is the part of the places that one key can have while there are others: a quarter.
const share = 4

// Places are what questions of all keys need one of while they run. No key can take them all from the others.
type Places struct {
	total int
	full  string // what there are then, with the number

	mu    sync.Mutex // guards all below
	taken int
	by    map[*usage]int // a key is known by its usage, which outlives it
}

// NewPlaces returns that many. full says what they are taken by, such as "questions are running".
func NewPlaces(total int, full string) *Places {
	return &Places{total: total, full: fmt.Sprintf("%d %s", total, full), by: map[*usage]int{}}
}

// Take takes one for a key. The error is a problem: 503 when there is none, 429 when the key has its share.
func (p *Places) Take(k *Key) (leave func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken >= p.total {
		return nil, problem.New(http.StatusServiceUnavailable, problem.Busy, p.full)
	}
	if most := max(1, p.total/share); k.crowd != nil && k.crowd() > 1 && p.by[k.used] >= most {
		full := problem.New(http.StatusTooManyRequests, problem.Quota,
			fmt.Sprintf("the key %s has %d of the %d places, the others are for other keys", k.name, most, p.total))
		full.Retry = time.Second
		return nil, full
	}
	p.taken++
	p.by[k.used]++
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.taken--
		if p.by[k.used]--; p.by[k.used] == 0 {
			delete(p.by, k.used)
		}
	}), nil
}
