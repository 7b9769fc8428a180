package ingester

import (
	"sync"

	"github.com/millrace/millrace/libs/bus"
)

// ticket follows the events of one request or message through all frames that
// hold them. done is called once, by whoever finishes the last of the frames.
type ticket struct {
	done func(bus.Receipt, error)

	mu      sync.Mutex // guards all below
	left    int        // frames that are not finished, and one while rows are still being added
	receipt bus.Receipt
	err     error // the first one
}

func newTicket(done func(bus.Receipt, error)) *ticket { return &ticket{done: done, left: 1} }

// join adds a frame that will call finish.
func (t *ticket) join() {
	t.mu.Lock()
	t.left++
	t.mu.Unlock()
}

// finish tells what became of one frame.
func (t *ticket) finish(p bus.Place, err error) {
	t.mu.Lock()
	if err == nil {
		t.receipt.Add(p)
	} else if t.err == nil {
		t.err = err
	}
	t.leave()
}

// added says that all rows are in frames, or that err kept some out.
func (t *ticket) added(err error) {
	t.mu.Lock()
	if t.err == nil {
		t.err = err
	}
	t.leave()
}

// leave unlocks.
func (t *ticket) leave() {
	t.left--
	last, receipt, err := t.left == 0, t.receipt, t.err
	t.mu.Unlock()
	if last {
		t.done(receipt, err)
	}
}
