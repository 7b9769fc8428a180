package asks

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/libs/testkit"
	"github.com/millrace/millrace/services/query"
	"github.com/millrace/millrace/services/query/users"
)

// A thousand with every test; the proof itself, which takes minutes, is -questions 10000.
var questions = flag.Int("questions", 1000, "how many `asks` are compared with the model")

const askers = 8

// asker asks about people of its own, one question after the other, so that it knows what was acknowledged before each.
type asker struct {
	*rand.Rand
	m      *mill
	bases  []string
	name   string
	people []*person

	sent, asked, repeats, lacking int
}

// TestWhatWasJustAcknowledged asks again and again about people of whom an event was acknowledged right before, by HTTP and by
// NATS, while others do the same, the indexer commits and the watermark moves: of new users, of kept ones and of ones that were
// let go for want of memory, of devices, and of users that identify and alias join. Every answer must equal the model.
func TestWhatWasJustAcknowledged(t *testing.T) {
	m := newMill(t)
	bases := []string{
		m.query("query", func(*query.Config) {}),
		m.query("another query", func(c *query.Config) { c.UserMemory = 64 << 10 }), // some ten users
	}
	stop, noise := m.noise()
	began := time.Now()
	all := make([]*asker, askers)
	var wg sync.WaitGroup
	for i := range all {
		a := &asker{Rand: rand.New(rand.NewPCG(5, uint64(i))), m: m, bases: bases, name: strconv.Itoa(i)}
		all[i] = a
		wg.Go(func() {
			for n := range *questions / askers {
				if err := a.round(n); err != nil {
					t.Errorf("asker %s, question %d: %v", a.name, n, err)
					return
				}
			}
		})
	}
	wg.Wait()
	stop()
	var sum asker
	people := 0
	for _, a := range all {
		sum.sent, sum.asked, sum.repeats, sum.lacking = sum.sent+a.sent, sum.asked+a.asked, sum.repeats+a.repeats, sum.lacking+a.lacking
		people += len(a.people)
	}
	ledger, err := m.js.Stream(t.Context(), m.inst.Names.StreamLedger())
	m.must(err)
	t.Logf("%d questions in %s about %d people; %d events, %d repeats, %d ledger records; %d answers lacked something at first",
		sum.asked, time.Since(began).Round(time.Second), people, sum.sent, sum.repeats, ledger.CachedInfo().State.LastSeq, sum.lacking)
	if t.Failed() {
		return
	}
	if sum.asked != *questions/askers*askers || sum.repeats == 0 || sum.lacking > *questions/2 || ledger.CachedInfo().State.LastSeq < 100 {
		t.Error("that proves nothing")
	}
	want := uint64(sum.sent) + noise.Load()
	testkit.Eventually(t, "all is in ClickHouse", func() bool { return m.db.Count("SELECT count() FROM events") >= want })
	for _, count := range []string{"count()", "uniqExact(event_id)", "uniqExact(_shard, _seq, _idx)"} {
		if n := m.db.Count("SELECT " + count + " FROM events"); n != want {
			t.Errorf("%s is %d, sent were %d", count, n, want)
		}
	}
}

// noise sends events of others until it is stopped.
func (m *mill) noise() (stop func(), n *atomic.Uint64) {
	n = new(atomic.Uint64)
	ctx, cancel := context.WithCancel(m.Context())
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil {
			var body strings.Builder
			for i := range uint64(10) {
				fmt.Fprintf(&body, `{"anonymousId":"other %d","event":"seen","messageId":"noise %d"}`+"\n", i, n.Load()+i)
			}
			if err := m.publish(body.String()); err != nil {
				m.Error(err)
				return
			}
			n.Add(10)
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	return func() { cancel(); done.Wait() }, n
}

// whom chooses somebody new, or one of those who were here lately, or anybody.
func (a *asker) whom() *person {
	n := len(a.people)
	switch {
	case n == 0 || a.IntN(15) == 0:
		a.people = append(a.people, newPerson(a.Rand, a.name+"-"+strconv.Itoa(n)))
		return a.people[n]
	case a.IntN(20) == 0:
		return a.people[a.IntN(n)]
	default:
		return a.people[n-1-a.IntN(min(n, 6))]
	}
}

// send sends by one of the doors, and returns when it is acknowledged.
func (a *asker) send(s *sent, nats bool) error {
	if nats {
		return a.m.publish(s.body())
	}
	return a.m.post(s.body())
}

// round sends what somebody does, asks about them, and compares.
func (a *asker) round(n int) error {
	p := a.whom()
	nats := n%2 == 0
	for range 1 + a.IntN(2)*a.IntN(3) {
		s := p.next()
		if err := a.send(s, nats); err != nil {
			return err
		}
		p.history = append(p.history, s)
		a.sent++
	}
	if a.IntN(30) == 0 { // by the other door once more
		if err := a.send(p.history[a.IntN(len(p.history))], !nats); err != nil {
			return err
		}
		a.repeats++
	}
	q, repeat := p.question(), false
	if old := p.history[a.IntN(len(p.history))]; old.request && a.IntN(3) == 0 {
		q, repeat = old, true
	}
	most, params := 20, url.Values{}
	if a.IntN(10) == 0 {
		most = 50
		params.Set("recent", "50")
	}
	base := a.bases[0]
	if a.IntN(10) == 0 {
		base = a.bases[1]
	}
	a.asked++
	if a.IntN(10) == 0 {
		return a.compare(p, q.whom(), nil, most, func() (answer, error) { return about(a.m.Context(), base, q.whom(), params) })
	}
	if !repeat {
		p.history = append(p.history, q)
		a.sent++
	}
	return a.compare(p, q.whom(), q, most, func() (answer, error) {
		got, err := ask(a.m.Context(), base, q.body(), params)
		if c, bad := got.context(); err == nil && bad == nil && c.Complete && c.Repeat != repeat {
			return got, fmt.Errorf("repeat is %t, want %t: %s", c.Repeat, repeat, got)
		}
		return got, err
	})
}

// compare asks, and holds the answer against the model. One that says that it lacks something, because a service or ClickHouse
// was slower than an ask may take, must hold the ask's own event, and the same question must be answered whole in the end.
func (a *asker) compare(p *person, who users.User, own *sent, most int, get func() (answer, error)) error {
	for deadline := time.Now().Add(time.Minute); ; {
		got, err := get()
		if err != nil {
			return err
		}
		c, err := got.context()
		if err != nil {
			return err
		}
		if c.Complete {
			now, err := time.Parse(time.RFC3339, c.AsOf)
			if err != nil {
				return err
			}
			if diff := equal(a.m.T, p.expect(who, now.UnixMilli(), own, most), c); diff != "" {
				return errors.New(diff)
			}
			return nil
		}
		slow := func(l users.Lack) bool {
			return l.What == users.LackHistory || l.What == users.LackTail || l.What == users.LackDoor
		}
		if len(c.Lacks) == 0 || !slow(c.Lacks[0]) || time.Now().After(deadline) {
			return fmt.Errorf("it lacks what it must not: %s", got)
		}
		if own != nil && !c.Repeat && (c.Request == nil || c.Request.EventID != own.id) {
			return fmt.Errorf("not even the event of the ask is there: %s", got)
		}
		a.lacking++
		own = nil
		get = func() (answer, error) {
			return about(a.m.Context(), a.bases[0], who, url.Values{"recent": {strconv.Itoa(most)}})
		}
	}
}
