package track

import (
	"context"
	"sync"
	"time"
)

// batch is the events of one NATS message. All of them end together.
type batch struct {
	id   string    // Nats-Msg-Id: of the batch, because a caller may use a messageId twice
	born time.Time // when its first event came
	body []byte    // NDJSON
	ends []int     // where in body each event ends, its newline included

	// done is closed when the batch has ended, its events reported if need be;
	// seq and err are set before.
	done chan struct{}
	seq  uint64 // of the stream
	err  error
}

func newBatch(now time.Time, size int) *batch {
	return &batch{id: newID(now), born: now, body: make([]byte, 0, size), done: make(chan struct{})}
}

// ended is a batch for an event that has come into none.
func ended(err error) *batch {
	b := &batch{err: err, done: make(chan struct{})}
	close(b.done)
	return b
}

func (b *batch) add(event []byte) {
	b.body = append(b.body, event...)
	b.ends = append(b.ends, len(b.body))
}

// event is the i-th one, without its newline.
func (b *batch) event(i int) []byte {
	from := 0
	if i > 0 {
		from = b.ends[i-1]
	}
	return b.body[from : b.ends[i]-1]
}

// wait waits for the end of the batch, or of ctx.
func (b *batch) wait(ctx context.Context) error {
	select {
	case <-b.done: // also when ctx is done
		return nil
	default:
	}
	select {
	case <-b.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// queue is what has not ended yet, in the order in which it came. Nothing that
// waits happens under its lock: not the network, and no code of the caller's.
type queue struct {
	maxEvents, maxBytes int
	batchEvents         int
	linger              time.Duration

	wake chan struct{} // has room for one: something has changed for next

	mu         sync.Mutex // guards what follows
	batchBytes int
	open       *batch              // takes events; nil when there is none
	sealed     []*batch            // wait to be sent
	unended    map[*batch]struct{} // these, and those that are being sent
	like       int                 // bytes of the batch before, which the next may well have
	closed     bool
	stats      Stats
}

func newQueue(c *config) *queue {
	return &queue{
		maxEvents: c.queueEvents, maxBytes: c.queueBytes, batchEvents: c.batchEvents, batchBytes: c.batchBytes, linger: c.linger,
		wake: make(chan struct{}, 1), unended: map[*batch]struct{}{},
	}
}

// bound makes later batches fit into what the server takes.
func (q *queue) bound(bytes int) {
	q.mu.Lock()
	q.batchBytes = bytes
	q.mu.Unlock()
}

// put appends an event, a line with its newline, and returns the batch that it
// is in, or why it is in none.
func (q *queue) put(line []byte, now time.Time) (*batch, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return nil, ErrClosed
	case len(line) > q.batchBytes:
		return nil, ErrTooLarge
	case q.stats.Waiting == q.maxEvents || q.stats.WaitingBytes+len(line) > q.maxBytes:
		return nil, ErrQueueFull
	}
	if q.open != nil && len(q.open.body)+len(line) > q.batchBytes {
		q.seal()
	}
	if q.open == nil {
		q.open = newBatch(now, q.like)
		q.unended[q.open] = struct{}{}
		q.changed()
	}
	b := q.open
	b.add(line)
	if len(b.ends) == q.batchEvents {
		q.seal()
	}
	q.stats.Queued++
	q.stats.Waiting++
	q.stats.WaitingBytes += len(line)
	return b, nil
}

// seal ends the filling of the open batch. The lock is held.
func (q *queue) seal() {
	if q.open == nil {
		return
	}
	q.sealed = append(q.sealed, q.open)
	q.like, q.open = len(q.open.body), nil
	q.changed()
}

func (q *queue) changed() {
	select {
	case q.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// next waits for the batch that is to be sent next; it is nil when the queue is
// closed and empty. There is one caller.
func (q *queue) next() *batch {
	for {
		b, wait, more := q.take(time.Now())
		if b != nil || !more {
			return b
		}
		var due <-chan time.Time
		if wait > 0 {
			due = time.After(wait)
		}
		select {
		case <-q.wake:
		case <-due:
		}
	}
}

// take returns a batch, or how long the open one may still be filled: 0 when
// there is none. Without more there will never be one.
func (q *queue) take(now time.Time) (b *batch, wait time.Duration, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.sealed) > 0 {
		b, q.sealed[0] = q.sealed[0], nil
		q.sealed = q.sealed[1:]
		return b, 0, true
	}
	if q.open == nil {
		return nil, 0, !q.closed
	}
	if wait = q.linger - now.Sub(q.open.born); wait > 0 {
		return nil, wait, true
	}
	b, q.open = q.open, nil
	q.like = len(b.body)
	return b, 0, true
}

// all seals what is open and returns every batch that has not ended. After the
// last time the queue takes nothing more.
func (q *queue) all(last bool) []*batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.seal()
	if last {
		q.closed = true
		q.changed()
	}
	some := make([]*batch, 0, len(q.unended))
	for b := range q.unended {
		some = append(some, b)
	}
	return some
}

// end ends a batch.
func (q *queue) end(b *batch, seq uint64, err error) {
	b.seq, b.err = seq, err
	q.mu.Lock()
	n := uint64(len(b.ends))
	if err == nil {
		q.stats.Acknowledged += n
		q.stats.Messages++
	} else {
		q.stats.NotStored += n
		q.stats.LastError = err
	}
	q.stats.Waiting -= len(b.ends)
	q.stats.WaitingBytes -= len(b.body)
	delete(q.unended, b)
	q.mu.Unlock()
	close(b.done)
}

// count changes the statistics.
func (q *queue) count(change func(*Stats)) {
	q.mu.Lock()
	change(&q.stats)
	q.mu.Unlock()
}

func (q *queue) snapshot() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.stats
}
