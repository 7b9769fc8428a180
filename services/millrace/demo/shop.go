package demo

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Shop decides who does what next. It is owned by one goroutine.
type Shop struct {
	rng     *rand.Rand
	run     string // makes ids differ from those of other runs
	n       int    // events so far
	orders  int
	known   int // visitors who have an account
	active  []*visit
	goods   []product
	origins []weighted[origin]
	devices []weighted[device]
	locales []weighted[string]
}

// visitors who are in the shop at the same time.
const visitors = 40

// NewShop returns a shop whose events follow from seed. run must differ
// between two shops that send to the same installation.
func NewShop(seed uint64, run string) *Shop {
	s := &Shop{
		rng: rand.New(rand.NewPCG(seed, 0x6d696c6c72616365)), run: run, known: 200,
		goods: catalogue(), origins: origins(), devices: devices(), locales: locales(),
	}
	for range visitors {
		s.active = append(s.active, s.arrive())
	}
	return s
}

// broken is the share of events that are none, one in so many: enough to see
// what becomes of them.
const broken = 250

// Next is the next event, at now, as JSON.
func (s *Shop) Next(now time.Time) []byte {
	s.n++
	if s.rng.IntN(broken) == 0 {
		return s.brokenEvent(now)
	}
	i := s.rng.IntN(len(s.active))
	v := s.active[i]
	e, stays := s.step(v, now)
	if !stays {
		s.active[i] = s.arrive()
	}
	return s.encode(v, e, now)
}

func pick[T any](rng *rand.Rand, from []weighted[T]) T {
	total := 0
	for _, w := range from {
		total += w.weight
	}
	n := rng.IntN(total)
	for _, w := range from {
		if n -= w.weight; n < 0 {
			return w.value
		}
	}
	return from[0].value
}

func (s *Shop) messageID() string { return fmt.Sprintf("demo-%s-%d", s.run, s.n) }

// brokenEvent is something that a careless client sends.
func (s *Shop) brokenEvent(now time.Time) []byte {
	id := s.messageID()
	switch s.rng.IntN(4) {
	case 0: // nobody did it
		return fmt.Appendf(nil, `{"messageId":%q,"type":"track","event":"Product Viewed","properties":{"sku":"FL-RYE-1"}}`, id)
	case 1: // a clock that counts in words
		return fmt.Appendf(nil, `{"messageId":%q,"type":"track","event":"Product Viewed","userId":"user-7","timestamp":"yesterday"}`, id)
	case 2: // a call that does not exist
		return fmt.Appendf(nil, `{"messageId":%q,"type":"click","event":"Buy","userId":"user-7","timestamp":%q}`, id, now.UTC().Format(time.RFC3339))
	default: // the same key twice
		return fmt.Appendf(nil, `{"messageId":%q,"type":"track","event":"Product Viewed","userId":"user-7","userId":"user-8"}`, id)
	}
}
