package enricher

import (
	"fmt"
	"strings"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/testkit/explore"
)

// story runs owners, and what they send, in an order that is decided step by
// step, until everything is answered.
func (in *scenario) story(s *explore.Story) error {
	w := &world{Story: s, in: in, letters: map[string]bus.DeadLetter{}, began: time.Now()}
	defer func() {
		w.mu.Lock()
		for _, o := range w.owners {
			if !o.ended {
				o.kill()
			}
		}
		w.mu.Unlock()
		for _, o := range w.owners {
			<-o.done
		}
	}()
	w.begin()
	idle := 0
	for steps := 0; ; steps++ {
		w.settle()
		switch {
		case w.broken != nil:
			return w.broken
		case steps > 2000 || idle > 30:
			return fmt.Errorf("it never ends: ENRICHED is at %d, %d dead letters are out", len(w.enriched), len(w.letters))
		case w.Seen(w.state):
			return nil
		case w.next():
			idle = 0
			continue
		}
		if idle++; idle > 2 && w.complete() == nil {
			return nil
		}
		w.mu.Lock()
		for _, o := range w.owners {
			o.asleep = false
		}
		w.mu.Unlock()
		w.Tell("time goes by")
		time.Sleep(delayLast)
	}
}

// settle waits until every owner waits for the world, and answers what needs no
// decision about its order.
func (w *world) settle() {
	for {
		synctest.Wait()
		c, o := w.plain()
		if c == nil {
			return
		}
		o.answer(c)
	}
}

func (w *world) plain() (*call, *owner) {
	for _, o := range w.owners {
		select {
		case <-o.done:
			if !o.ended {
				o.ended = true
				w.Tell("owner %d ends: %v", o.n, o.err)
				w.late = append(w.late, o.wire...)
				if o.err != nil && strings.Contains(o.err.Error(), ErrShut.Error()) {
					w.breaks("owner %d: %w", o.n, o.err)
				}
			}
			continue
		default:
		}
		for _, who := range []string{"loop", "reader", "letters", "tell"} {
			if c := o.of(who); c != nil && c.plain {
				return c, o
			}
		}
	}
	return nil, nil
}

// answer lets a call go on.
func (o *owner) answer(c *call) {
	w, way := o.w, 0
	if len(c.ways) > 1 {
		way = w.Fault(fault, len(c.ways))
	}
	text := c.what
	if way > 0 {
		text += ": " + c.ways[way]
	}
	w.Tell("owner %d, %s: %s", o.n, c.who, text)
	state, err := c.do(way)
	c.err = err
	o.asleep = o.asleep || c.who == "loop" && err != nil
	o.seen = explore.Mix(explore.MixText(explore.MixText(o.seen, c.who), c.what), state, uint64(time.Since(w.began)))
	w.mu.Lock()
	for i, x := range o.calls {
		if x == c {
			o.calls = append(o.calls[:i:i], o.calls[i+1:]...)
		}
	}
	w.mu.Unlock()
	close(c.answered)
}

// next lets one thing happen; false when there is nothing but time.
func (w *world) next() bool {
	var kinds []explore.Kind
	var does []func()
	add := func(kind explore.Kind, do func()) {
		if len(does) == 0 {
			kind = explore.Free
		}
		kinds, does = append(kinds, kind), append(does, do)
	}
	working := 0
	for i := range w.owners {
		// Who is at work comes first.
		o := w.owners[(max(0, w.at())+i)%len(w.owners)]
		if o.ended {
			continue
		}
		working++
		step := func(do func()) {
			add(turn, func() {
				w.current = o
				do()
			})
		}
		if c := o.of("loop"); c != nil {
			step(func() { o.answer(c) })
		}
		if c := o.of("reader"); c != nil && o.waiting() {
			step(func() { o.answer(c) })
		}
		if len(o.wire) > 0 {
			step(o.arrives)
		}
		if len(o.replies) > 0 && (!o.replies[0].frame || o.waiting()) {
			step(o.hears)
		}
		for _, who := range []string{"letters", "tell"} {
			if c := o.of(who); c != nil {
				step(func() { o.answer(c) })
			}
		}
	}
	if working < w.in.pair && len(w.owners) < w.in.lives || working == 0 && w.complete() != nil {
		add(turn, w.begin)
	}
	for i, p := range w.late {
		add(turn, func() {
			w.late = append(w.late[:i:i], w.late[i+1:]...)
			err := w.store(p.o, p.msg)
			w.Tell("%s arrives late: %v", p.what, err)
		})
	}
	if len(does) == 0 {
		return false
	}
	for _, o := range w.owners {
		if o.ended {
			continue
		}
		add(fault, func() {
			w.Tell("owner %d is killed", o.n)
			w.mu.Lock()
			o.kill()
			w.mu.Unlock()
		})
		if o.waiting() && !o.stopped {
			add(fault, func() {
				w.Tell("owner %d is told to stop", o.n)
				o.stopped, o.seen = true, explore.Mix(o.seen, 17)
				o.stop()
			})
		}
	}
	does[w.Choose(kinds...)]()
	return true
}

func (w *world) at() int {
	for i, o := range w.owners {
		if o == w.current {
			return i
		}
	}
	return -1
}

// arrives brings the oldest message on the wire to the server.
func (o *owner) arrives() {
	w, p := o.w, o.wire[0]
	o.wire = o.wire[1:]
	ways := []string{"arrives", "is lost", "arrives, its reply is lost", "is refused, the stream is full", "is late"}
	way := w.Fault(fault, len(ways))
	w.Tell("%s %s", p.what, ways[way])
	switch way {
	case 0:
		p.err = w.store(o, p.msg)
	case 1:
		p.err = jetstream.ErrAsyncPublishTimeout
	case 2:
		_ = w.store(o, p.msg) // nobody hears what came of it
		p.err = jetstream.ErrAsyncPublishTimeout
	case 3:
		p.err = errFull
	case 4:
		p.err = jetstream.ErrAsyncPublishTimeout
		w.late = append(w.late, p)
	}
	back := *p
	if p.err != nil {
		back.state = explore.MixText(p.state, p.err.Error())
	}
	o.replies = append(o.replies, &back)
}

// hears brings the oldest reply to the owner.
func (o *owner) hears() {
	p := o.replies[0]
	o.replies = o.replies[1:]
	o.w.Tell("owner %d hears of %s: %v", o.n, p.what, p.err)
	o.seen = explore.Mix(o.seen, p.state, uint64(time.Since(o.w.began)))
	if p.err != nil {
		o.asleep = o.asleep || p.frame
		p.fail <- p.err
		return
	}
	p.ok <- &jetstream.PubAck{}
}

// complete says what is still to be done.
func (w *world) complete() error {
	if len(w.enriched) < len(w.in.raw) {
		return fmt.Errorf("ENRICHED is at %d of %d", len(w.enriched), len(w.in.raw))
	}
	for n := range w.enriched {
		for identity := range w.deadOf(n + 1) {
			if _, ok := w.letters[identity]; !ok {
				return fmt.Errorf("dead letter %s is missing", identity)
			}
		}
	}
	return nil
}
