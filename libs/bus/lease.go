package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/failpoint"
)

// Causes of the end of a shard's context, for context.Cause.
var (
	// ErrLeaseLost: somebody else holds the shard now.
	ErrLeaseLost = errors.New("bus: the lease of the shard was lost")
	// ErrLeaseExpired: the lease could not be renewed in time.
	ErrLeaseExpired = errors.New("bus: the lease of the shard was not renewed in time")
	// ErrLeaseGiven: the shard goes to an instance that holds fewer.
	ErrLeaseGiven = errors.New("bus: the shard is given to another instance")
)

// LeaseConfig says which shards are shared out and how. KV, Service, Shards
// and Log are required.
type LeaseConfig struct {
	// KV is the bucket; keys are <service>.member.<instance> and
	// <service>.shard.<number>, their values the instance. A TTL of the bucket
	// of an hour or so lets it forget instances that are long gone.
	KV jetstream.KeyValue
	// Service is whose shards these are, such as "indexer".
	Service string
	// Instance is this process among its equals, unique in every life; "":
	// random.
	Instance string
	// Shards is how many there are; the indexer's are its sinks.
	Shards int
	// TTL is how long a holder may be silent before others take its shards;
	// 0: 6 s.
	TTL time.Duration
	// Renew is the time between two signs of life, below half of TTL; 0: 2 s.
	Renew time.Duration
	Log   *slog.Logger
	// Happened, if set, is called with each of [LeaseEvents], for counting. It
	// must not block.
	Happened func(event string)
	// Theirs, if set, is called when another instance gives a sign of life for
	// a shard that own does not work on, often. It must not block. It is not
	// called between the begin of an own and its return.
	Theirs func(shard int)
}

// What happens to leases: taken over, given to an instance that has fewer, lost
// to another that took it, expired because it could not be renewed, failed
// because own returned early; and unanswered, when NATS does not answer.
const (
	LeaseTaken      = "taken"
	LeaseGiven      = "given"
	LeaseLost       = "lost"
	LeaseExpired    = "expired"
	LeaseFailed     = "failed"
	LeaseUnanswered = "unanswered"
)

// LeaseEvents is the closed set of a metric's label.
func LeaseEvents() []string {
	return []string{LeaseTaken, LeaseGiven, LeaseLost, LeaseExpired, LeaseFailed, LeaseUnanswered}
}

var leaseName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func (c *LeaseConfig) validate() error {
	if c.Instance == "" {
		c.Instance = rand.Text()
	}
	if c.TTL == 0 {
		c.TTL = 6 * time.Second
	}
	if c.Happened == nil {
		c.Happened = func(string) {}
	}
	if c.Theirs == nil {
		c.Theirs = func(int) {}
	}
	if c.Renew == 0 {
		c.Renew = min(2*time.Second, c.TTL/3)
	}
	switch {
	case c.KV == nil || c.Log == nil:
		return errors.New("leases: KV and Log are required")
	case !leaseName.MatchString(c.Service):
		return fmt.Errorf("leases: service %q: want 1 to 64 of letters, digits, _ and -", c.Service)
	case !leaseName.MatchString(c.Instance):
		return fmt.Errorf("leases: instance %q: want 1 to 64 of letters, digits, _ and -", c.Instance)
	case c.Shards < 1:
		return fmt.Errorf("leases: %d shards: want at least 1", c.Shards)
	case c.Renew < 0 || c.TTL <= 2*c.Renew:
		return fmt.Errorf("leases: renewing every %s needs a TTL of more than twice that, not %s", c.Renew, c.TTL)
	}
	return nil
}

// Leases shares the shards of a service out between its instances, however
// many there are. Each instance shows signs of life in a KV bucket, takes its
// fair share, and gives shards away when others have less.
//
// A lease is sloppy on purpose: a process that was paused may work on a shard
// for a moment after another took it. What makes that harmless is elsewhere
// (the expected sequence of a stream, the compare-and-set of the ledger); a
// lease only keeps two from doing the same work for long. No clocks are
// compared: a holder is dead when its key has not changed for TTL on the
// observer's own clock, and a holder stops by itself TTL after it sent its
// last successful renewal, which is earlier. A clock that is set begins all
// waiting anew: it neither kills who is alive nor stops the renewals.
type Leases struct {
	cfg     LeaseConfig
	held    atomic.Pointer[[]int]
	trouble atomic.Pointer[error]
}

// NewLeases checks cfg and fills its defaults. It does not talk to NATS.
func NewLeases(cfg LeaseConfig) (*Leases, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Leases{cfg: cfg}, nil
}

// Instance is the name under which this instance is seen by others.
func (l *Leases) Instance() string { return l.cfg.Instance }

// Held returns the shards that own is working on, in ascending order.
func (l *Leases) Held() []int {
	if held := l.held.Load(); held != nil {
		return slices.Clone(*held)
	}
	return nil
}

// Trouble is why leases cannot be kept, nil while they are: NATS does not
// answer, which shows here sooner than the connection knows it.
func (l *Leases) Trouble() error {
	if err := l.trouble.Load(); err != nil {
		return *err
	}
	return nil
}

// Run takes and gives shards until ctx is done. For each shard it holds it
// runs own in a goroutine; own works until its context is done (context.Cause
// says why), finishes what it has begun and returns. The shard is released
// only then, and renewed up to then. When own returns before it was told to,
// the shard is released and taken again after a delay that grows up to 5 s;
// since the share of each instance is counted, others do not take it instead:
// trouble that all shards share is for own to wait out.
//
// NATS being away ends nothing but, after TTL, the own of each shard; Run goes
// on trying. It returns nil once ctx is done, every own has returned, and what
// was held is released, so that others take over at once.
func (l *Leases) Run(ctx context.Context, own func(ctx context.Context, shard int) error) error {
	watchCtx, stopWatch := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWatch()
	sightings := make(chan sighting, 64) // a few rounds of renewals; the watcher waits for room
	watchDone := make(chan struct{})
	// Ended by stopWatch.
	go func() {
		defer close(watchDone)
		l.watch(watchCtx, sightings)
	}()

	r := &leaseRun{
		cfg:    l.cfg,
		leases: l,
		base:   context.WithoutCancel(ctx),
		own:    own,
		view:   newLeaseView(),
		holds:  map[int]*hold{},
		faults: map[int]*fault{},
		ended:  make(chan ending, l.cfg.Shards), // at most one own a shard: none ever waits
	}
	r.loop(ctx, sightings)
	r.leave(sightings)
	stopWatch()
	for {
		select {
		case <-sightings: // the watcher may be waiting for room
		case <-watchDone:
			return nil
		}
	}
}

// leaseRun is one Run. All of it belongs to Run's goroutine.
type leaseRun struct {
	cfg    LeaseConfig
	leases *Leases
	base   context.Context // of the requests to NATS; each has its own timeout
	own    func(context.Context, int) error

	view   leaseView
	holds  map[int]*hold
	faults map[int]*fault
	ended  chan ending

	nextRenewal time.Time
	looked      time.Time // at the clock
	// troubled since NATS did not answer; nothing is taken or given then.
	troubled bool
}

// hold is a shard that own works on, or has yet to return from.
type hold struct {
	ctx      context.Context // own's
	cancel   context.CancelCauseFunc
	revision uint64
	// expiry ends ctx without the loop, which may be waiting for NATS.
	expiry *time.Timer
	began  time.Time
	// lost: the key belongs to somebody else and must not be touched.
	lost bool
	// toldAt is when the loop first saw ctx done.
	toldAt time.Time
}

// fault is why a shard is not taken for a while.
type fault struct {
	count int
	until time.Time
	// text is what was logged last, and quiet for how long it is not again.
	text   string
	logged time.Time
	quiet  time.Duration
}

// ending is the return of own.
type ending struct {
	shard int
	err   error
}

func (r *leaseRun) loop(ctx context.Context, sightings <-chan sighting) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-sightings:
			r.see(s)
			for range len(sightings) { // decide once on all that is known
				r.see(<-sightings)
			}
		case e := <-r.ended:
			r.finish(e)
		case <-timer.C:
		}
		r.clock()
		if !failpoint.Now().Before(r.nextRenewal) {
			r.renewAll(true)
		}
		if r.view.complete && !r.troubled {
			r.balance()
		}
		r.publishHeld()
		timer.Reset(failpoint.Left(r.wakeAt(), r.cfg.Renew))
	}
}

// leave drains every own and releases its shard as it returns.
func (r *leaseRun) leave(sightings <-chan sighting) {
	// First of all others must stop counting on this instance, or they leave
	// alone the shards that it releases.
	if err := r.request(func(ctx context.Context) error { return r.cfg.KV.Delete(ctx, r.memberKey(r.cfg.Instance)) }); err != nil {
		r.trouble(fmt.Errorf("withdraw membership: %w", err))
	}
	for _, h := range r.holds {
		h.cancel(context.Canceled)
	}
	ticker := time.NewTicker(r.cfg.Renew)
	defer ticker.Stop()
	for len(r.holds) > 0 {
		select {
		case e := <-r.ended:
			r.finish(e)
			r.publishHeld()
		case s := <-sightings:
			r.see(s)
		case <-ticker.C:
			r.clock()
			r.renewAll(false)
		}
	}
}

// wakeAt is when something is due although nothing is heard: a renewal, the
// death of a silent holder or member, the end of a fault.
func (r *leaseRun) wakeAt() time.Time {
	now, at := failpoint.Now(), r.nextRenewal
	sooner := func(t time.Time) {
		if t.After(now) && t.Before(at) {
			at = t
		}
	}
	for _, seen := range r.view.members {
		sooner(seen.at.Add(r.cfg.TTL))
	}
	for _, seen := range r.view.shards {
		sooner(seen.at.Add(r.cfg.TTL))
	}
	for _, f := range r.faults {
		sooner(f.until)
	}
	return at
}

func (r *leaseRun) publishHeld() {
	shards := slices.Sorted(maps.Keys(r.holds))
	r.leases.held.Store(&shards)
}
