package ingester

import (
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/failpoint"
	"github.com/millrace/millrace/libs/svc"
)

// maxFlying bounds the frames of one shard that wait for their
// acknowledgement. Past it the open frame grows to its cap, so that a slow
// NATS makes frames larger instead of more.
const maxFlying = 8

// setBack is how much later than it can be a frame may be due. Beyond that the
// clock was set back since it was opened, and it leaves at once.
const setBack = time.Second

// lane is the group commit of one shard: requests add rows to its open frame,
// which leaves when it is full or has lingered. Frames leave in the order in
// which they were opened.
//
// Goroutines: doors call add; one runs run, which alone packs and sends for
// the first time; each frame in flight has one that waits for its
// acknowledgement and repeats (see publish.go).
type lane struct {
	laneConfig
	wake   chan struct{} // one token: something changed that run should look at
	native []byte        // run's scratch memory, as is packed
	packed []byte
	lines  svc.Repeated // about publishing

	mu       sync.Mutex // guards all below
	open     *outgoing  // takes rows; nil or not empty
	sealed   []*outgoing
	flying   int
	queued   int64  // bytes of rows in frames that are not finished
	acked    uint64 // highest sequence acknowledged
	closed   error  // why the shard takes nothing any more
	stopping bool
	troubled bool // the last thing heard about publishing was bad
	fill     fill
}

type laneConfig struct {
	shard       int
	subject     string
	stream      string
	linger      time.Duration
	hold        time.Duration
	frameBytes  int
	frameEvents int
	js          jetstream.JetStream
	log         *slog.Logger
	m           *metrics
	budget      *budget
	frames      *sync.Pool // of *outgoing, shared by the lanes
}

// outgoing is one frame from its first row to its acknowledgement.
type outgoing struct {
	block   *frame.Block
	bytes   int64 // of its rows, as accounted in budget and lane
	due     time.Time
	until   time.Time // nobody waits for it after this
	tickets []*ticket

	header nats.Header
	body   []byte
	sent   time.Time
}

func newOutgoing() *outgoing { return &outgoing{block: frame.NewBlock(frame.RawSchema)} }

func newLane(cfg laneConfig) *lane {
	cfg.log = cfg.log.With("shard", cfg.shard)
	return &lane{laneConfig: cfg, wake: make(chan struct{}, 1)}
}

// add appends the rows of in that belong to the shard, beginning with row
// first. t joins every frame that gets one of them; until is how long its
// sender waits.
func (l *lane) add(in *intake, first int32, t *ticket, now, until time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed != nil:
		return l.closed
	case l.stopping:
		return errDraining
	}
	var added int64
	for i := first; i >= 0; i = in.rows[i].next {
		size := in.rowSize(i)
		if l.open != nil && l.open.block.Size()+size > l.frameBytes {
			l.seal()
		}
		if l.open == nil {
			l.open = l.frames.Get().(*outgoing)
			l.open.due = now.Add(l.linger)
			l.signal()
		}
		p := l.open
		in.writeRow(p.block, i)
		if p.until.Before(until) {
			p.until = until
		}
		if n := len(p.tickets); n == 0 || p.tickets[n-1] != t {
			t.join()
			p.tickets = append(p.tickets, t)
		}
		p.bytes += int64(size)
		added += int64(size)
		if p.block.Rows() == l.frameEvents || p.block.Size() >= l.frameBytes {
			l.seal()
		}
	}
	if in.from.door == doorAsk && l.open != nil && l.open.due.After(now) {
		l.open.due = now // somebody waits for an answer made of it: it leaves with what is there
		l.signal()
	}
	l.queued += added
	l.budget.add(added)
	return nil
}

// seal closes the open frame. The caller holds mu.
func (l *lane) seal() {
	l.sealed = append(l.sealed, l.open)
	l.open = nil
	l.signal()
}

func (l *lane) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run sends frames until stop was called and the last one is finished.
func (l *lane) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		p, wait, over := l.next(failpoint.Now)
		switch {
		case over:
			return
		case p != nil:
			l.launch(p)
			continue
		case wait > 0:
			timer.Reset(wait)
		default:
			timer.Stop()
		}
		select {
		case <-l.wake:
		case <-timer.C:
		}
	}
}

// next returns the frame to send now; or how long until there may be one, 0
// when only a signal can tell; or that all is over. The clock is read under mu:
// a time from before the open frame was opened would look like one that was set
// back.
func (l *lane) next(clock func() time.Time) (p *outgoing, wait time.Duration, over bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.flying == maxFlying:
		return nil, 0, false
	case len(l.sealed) > 0:
		p = l.sealed[0]
		l.sealed = append(l.sealed[:0], l.sealed[1:]...)
	case l.open != nil:
		if wait = l.open.due.Sub(clock()); wait > 0 && wait <= l.linger+setBack && !l.stopping {
			return nil, wait, false
		}
		p, l.open = l.open, nil
	default:
		return nil, 0, l.stopping && l.flying == 0
	}
	l.flying++
	return p, 0, false
}

// finish tells everybody who waits for the frame and forgets it.
func (l *lane) finish(p *outgoing, seq uint64, err error) {
	l.mu.Lock()
	l.flying--
	l.queued -= p.bytes
	if err == nil {
		l.acked = max(l.acked, seq)
		l.fill.published += int64(len(p.body)) + messageOverhead
		l.fill.rows += p.bytes
	}
	l.mu.Unlock()
	l.budget.free(p.bytes)
	l.signal()
	for _, t := range p.tickets {
		t.finish(bus.Place{Shard: l.shard, Seq: seq}, err)
	}
	p.block.Reset()
	clear(p.tickets)
	*p = outgoing{block: p.block, tickets: p.tickets[:0], body: p.body[:0]}
	l.frames.Put(p)
}

// stop makes run send what is there and return; add refuses from now on.
func (l *lane) stop() {
	l.mu.Lock()
	l.stopping = true
	l.mu.Unlock()
	l.signal()
}

// state is nil when the shard takes events.
func (l *lane) state() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}
