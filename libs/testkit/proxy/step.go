package proxy

import "time"

type act int

const (
	wait      act = iota // and ask again
	write                // data, then wait for delay
	cutAfter             // write data, then end the connection
	loseReply            // throw this and all that follows away, reset dst when src is done
	end                  // pass the end on
	vanish               // throw away, be it the end
	nothing              // dst takes nothing any more
)

// step is the next thing to do with a chunk.
type step struct {
	act     act
	data    []byte
	delay   time.Duration // 0 with wait: until the faults change
	changed <-chan struct{}
}

// next decides what happens to the next bytes of a chunk and takes them from
// it.
func (d *pipe) next(c *chunk) step {
	p := d.l.p
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.faults[d.dir]
	s := step{act: wait, changed: p.changed}
	if d.dead {
		s.act = nothing
		return s
	}
	if f.Stall || d.held {
		return s
	}
	if f.Vanish {
		d.torn = true
		s.act = vanish
		return s
	}
	if f.delays() {
		late := f.Delay + time.Duration(c.jitter*float64(f.Jitter))
		if s.delay = time.Until(c.at.Add(late)); s.delay > 0 {
			return s
		}
		s.delay = 0
	}
	if c.err != nil {
		s.act = end
		return s
	}
	if d.dir == Down && p.owes(d.l, c) {
		d.dead = true
		s.act = loseReply
		return s
	}
	s.act, s.data = write, c.data
	if f.Rate > 0 {
		s.data = c.data[:min(len(c.data), max(1, int(f.Rate/50)))] // fifty writes a second
		s.delay = time.Duration(float64(len(s.data)) / float64(f.Rate) * float64(time.Second))
	}
	if n, struck := p.inside[d.dir].strikes(&d.inside, s.data); struck {
		s.data = s.data[:n]
		if d.held = p.inside[d.dir].hold; !d.held {
			s.act, d.dead = cutAfter, true
		}
		p.stats.Inside++
		p.spend(&p.inside[d.dir])
	}
	if d.dir == Up && (d.lose.trap != p.lose || d.lose.done.IsZero()) {
		if _, complete := p.lose.strikes(&d.lose, s.data); complete {
			d.lose.done = time.Now() // before it is written: the reply cannot be older
		}
	}
	other := d.l.pipes[d.dir.Other()]
	other.inside.turn()
	other.lose.turn()
	c.data = c.data[len(s.data):]
	return s
}

// owes says whether a chunk that came down is a reply to be lost, and counts
// it.
func (p *Proxy) owes(l *link, c *chunk) bool {
	asked := &l.pipes[Up].lose
	if p.lose == nil || asked.trap != p.lose || asked.done.IsZero() || c.at.Before(asked.done) {
		return false
	}
	p.stats.LostReplies++
	p.spend(&p.lose)
	return true
}

// strikes shows the next bytes to the trap's scanner.
func (t *trap) strikes(s *scanner, b []byte) (int, bool) {
	if s.trap != t {
		*s = scanner{trap: t}
	}
	if t == nil {
		return 0, false
	}
	return s.next(b)
}

// spend takes one from a trap's number and disarms it after the last.
func (p *Proxy) spend(t **trap) {
	if (*t).left--; (*t).left == 0 {
		*t = nil
	}
}
