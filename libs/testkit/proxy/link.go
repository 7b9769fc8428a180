package proxy

import (
	"net"
	"sync"
	"time"
)

const (
	// grace is how long a side that has been told the end may keep its own side
	// open when the other side is gone.
	grace = 5 * time.Second
	// settled is how long a client must have sent nothing until its request is
	// taken for whole, and patience for how long that is looked for.
	settled  = 50 * time.Millisecond
	patience = 2 * time.Second
)

// link is one connection: the client's and the one to upstream.
type link struct {
	p     *Proxy
	pipes [2]*pipe
	once  sync.Once
	done  chan struct{} // closed when both connections are
}

func newLink(p *Proxy, client, server *net.TCPConn) *link {
	l := &link{p: p, done: make(chan struct{})}
	l.pipes[Up] = newPipe(l, Up, client, server)
	l.pipes[Down] = newPipe(l, Down, server, client)
	return l
}

// abort resets both sides.
func (l *link) abort() { l.end(reset) }

func (l *link) end(one func(*net.TCPConn)) {
	l.once.Do(func() {
		one(l.pipes[Up].src)
		one(l.pipes[Down].src)
		close(l.done)
	})
}

// run returns when nothing of the link is left.
func (l *link) run() {
	var wg sync.WaitGroup
	for _, d := range l.pipes {
		wg.Go(d.read)
		wg.Go(d.write)
	}
	for _, d := range l.pipes {
		select {
		case <-d.finished:
		case <-l.done:
		}
	}
	if l.torn() {
		<-l.done // the end was among what vanished: nobody hears of it until that is lifted
	}
	l.linger()
	wg.Wait()
	l.end(func(c *net.TCPConn) { _ = c.Close() }) // both directions have ended
}

// linger resets, after the grace, a side that was told the end and does not
// end; not while something is still on its way.
func (l *link) linger() {
	time.AfterFunc(grace, func() {
		switch {
		case l.ended():
		case l.pipes[Up].waiting.Load()+l.pipes[Down].waiting.Load() > 0:
			l.linger()
		default:
			l.abort()
		}
	})
}

// hush resets the client whose reply is being lost once its request is whole.
// That may be later than the first bytes that came back: a native insert in
// ClickHouse is answered while its rows are on the way.
func (l *link) hush(begin time.Time) {
	up := l.pipes[Up]
	quiet := up.waiting.Load() == 0 && time.Since(time.Unix(0, up.moved.Load())) >= settled
	switch {
	case l.ended():
	case !quiet && time.Since(begin) < patience:
		time.AfterFunc(settled/5, func() { l.hush(begin) })
	default:
		reset(up.src)
		l.linger()
	}
}

func (l *link) ended() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

func (l *link) torn() bool {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	return l.pipes[Up].torn || l.pipes[Down].torn
}
