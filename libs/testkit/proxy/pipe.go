package proxy

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	readSize  = 64 << 10
	queueSize = 32 // reads that wait in the proxy for each direction
)

// chunk is what one read gave, or the end.
type chunk struct {
	data   []byte
	at     time.Time
	jitter float64 // of Fault.Jitter
	err    error   // io.EOF, or src is broken; without data
}

// pipe is one direction of a link: a reader that passes the bytes on while
// nothing is wrong and else queues them, and a writer that applies the faults
// to what is queued. The reader looks for faults after it has read, so that
// bytes sent after a fault was set cannot slip through (a splice in the kernel
// lets them).
type pipe struct {
	l        *link
	dir      Direction
	src, dst *net.TCPConn
	queue    chan chunk
	waiting  atomic.Int64 // chunks that have been read and not been written
	moved    atomic.Int64 // when the last was read, Unix nanoseconds
	once     sync.Once
	finished chan struct{} // nothing more will be written to dst

	// Guarded by the proxy's lock.
	torn   bool // bytes vanished
	shut   bool // HalfClose ended it
	dead   bool // dst takes nothing any more
	held   bool // StallInside struck
	lose   scanner
	inside scanner
}

func newPipe(l *link, dir Direction, src, dst *net.TCPConn) *pipe {
	return &pipe{l: l, dir: dir, src: src, dst: dst, queue: make(chan chunk, queueSize), finished: make(chan struct{})}
}

func (d *pipe) read() {
	defer close(d.queue)
	buf := make([]byte, readSize)
	for {
		n, err := d.src.Read(buf)
		d.moved.Store(time.Now().UnixNano())
		switch {
		case n == 0:
		case d.clear():
			d.waiting.Add(1)
			if _, err := d.dst.Write(buf[:n]); err != nil {
				d.die()
			}
			d.waiting.Add(-1)
		case !d.push(chunk{data: bytes.Clone(buf[:n]), at: time.Now(), jitter: rand.Float64()}):
			return
		}
		if err != nil {
			d.push(chunk{at: time.Now(), err: err})
			return
		}
	}
}

// clear says whether bytes may pass at once. They may not overtake what is
// queued.
func (d *pipe) clear() bool {
	p := d.l.p
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.clear() && !d.dead && !d.held && d.waiting.Load() == 0
}

func (d *pipe) push(c chunk) bool {
	d.waiting.Add(1)
	select {
	case d.queue <- c:
		return true
	case <-d.l.done:
		return false
	}
}

func (d *pipe) write() {
	defer d.finish()
	for c := range d.queue {
		if !d.deliver(c) {
			d.finish() // the rest is read and thrown away
		}
		d.waiting.Add(-1)
	}
}

func (d *pipe) finish() { d.once.Do(func() { close(d.finished) }) }

// deliver writes a chunk to dst as the faults of the moment want it, and says
// whether dst can take more.
func (d *pipe) deliver(c chunk) bool {
	for len(c.data) > 0 || c.err != nil {
		step := d.next(&c)
		switch step.act {
		case wait:
			if !d.pause(step) {
				return false
			}
			continue
		case end:
			return d.end(c.err)
		case loseReply:
			d.l.hush(time.Now())
			return false
		case vanish:
			return true
		case nothing:
			return false
		case write, cutAfter:
		}
		if _, err := d.dst.Write(step.data); err != nil {
			d.die()
			return false
		}
		if step.act == cutAfter {
			_ = d.dst.CloseWrite() // it may be closed already
			reset(d.src)
			d.l.linger()
			return false
		}
		if step.delay > 0 && !d.pause(step) {
			return false
		}
	}
	return true
}

// end passes the end of src on. A client that was reset here because its reply
// is lost ends in order for upstream: the request is to arrive whole.
func (d *pipe) end(err error) bool {
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		_ = d.dst.CloseWrite() // it may be closed already
	} else {
		d.l.abort()
	}
	return false
}

// die notes that dst is gone. Its own end comes by the other direction, behind
// what that still has to bring.
func (d *pipe) die() {
	d.l.p.mu.Lock()
	defer d.l.p.mu.Unlock()
	d.dead = true
	d.finish()
}

// pause waits, until the faults change at the latest. It is false when the link
// has ended.
func (d *pipe) pause(s step) bool {
	var timer <-chan time.Time
	if s.delay > 0 {
		timer = time.After(s.delay)
	}
	select {
	case <-timer:
	case <-s.changed:
	case <-d.l.done:
		return false
	}
	return true
}
