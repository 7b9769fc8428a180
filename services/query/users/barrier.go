package users

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event"
	"github.com/millrace/millrace/services/query/tail"
)

// barrierTime is how long an answer waits for events that were stored before it was asked for and that the enricher has not
// answered. After it they lack.
const barrierTime = 2 * time.Second

// How often the NATS door is looked at while events wait in it: an ingester takes some milliseconds.
const (
	firstLook = time.Millisecond
	lastLook  = 50 * time.Millisecond
)

// About answers about a user, with every event that was acknowledged before the call: of each shard that holds events of the
// user it waits for what RAW has, and before that for what IN has. Events under other ids than the one that is asked about
// may be in other shards, so a receipt of one event does not cover them.
func (u *Users) About(ctx context.Context, user User, o Options) (*Context, error) {
	select {
	case <-u.cfg.Tail.Ready():
	default:
		return nil, u.unavailable(u.cfg.Tail.Err())
	}
	o.asked = bus.Receipt{Places: slices.Clone(o.After.Places)}
	return u.complete(ctx, user, o, u.barrier(ctx, user, u.look(ctx), bus.Receipt{}))
}

// reached is how far shards must be, as far as that is known.
type reached struct {
	receipt bus.Receipt
	lacks   []Lack
}

// complete answers once the shards are so far, and looks again when the answer names ids in further shards.
func (u *Users) complete(ctx context.Context, user User, o Options, r reached) (*Context, error) {
	for {
		for _, p := range r.receipt.Places {
			o.After.Add(p)
		}
		a, err := u.Context(ctx, user, o)
		if err != nil {
			return nil, err
		}
		more := u.reach(ctx, tail.Who{Source: user.Source, Users: a.IDs.Users, Anonymous: a.IDs.Anonymous}, r.receipt)
		if len(more.receipt.Places) == 0 && len(more.lacks) == 0 {
			if o.Own == nil {
				a.Receipt = o.asked.String()
			}
			// Not into those that are kept: the next answer may have it.
			a.Lacks = append(slices.Clip(a.Lacks), r.lacks...)
			a.Complete = len(a.Lacks) == 0
			return a, nil
		}
		for _, p := range more.receipt.Places {
			r.receipt.Add(p)
		}
		r.lacks = append(r.lacks, more.lacks...)
	}
}

// knownIDs are the ids of a user whose state is kept; else the one.
func (u *Users) knownIDs(user User) tail.Who {
	u.mu.Lock()
	defer u.mu.Unlock()
	if s := u.cache.states[user]; s != nil {
		return s.ids
	}
	return user.who()
}

// barrier waits until everything about a user that was acknowledged before the look can be answered, but for the shards that
// the receipt names: what is stored in one of these after the look comes behind all that. What waited in the door at the
// look may come behind anything.
func (u *Users) barrier(ctx context.Context, user User, door waiting, known bus.Receipt) (r reached) {
	lacks := u.settle(ctx, door)
	if !door.none() {
		known = bus.Receipt{}
	}
	r = u.reach(ctx, u.knownIDs(user), known)
	r.lacks = append(r.lacks, lacks...)
	return r
}

// waiting is what a look at the NATS door has seen.
type waiting struct {
	end, taken uint64
	err        error
}

func (w waiting) none() bool { return w.err == nil && w.taken >= w.end }

// look sees what the NATS door has acknowledged and no ingester has brought into RAW.
func (u *Users) look(ctx context.Context) (w waiting) {
	ctx, cancel := context.WithTimeout(ctx, barrierTime)
	defer cancel()
	w.end, w.taken, w.err = u.cfg.Tail.In(ctx)
	if errors.Is(w.err, jetstream.ErrStreamNotFound) { // there is no such door
		w.err = nil
	}
	return w
}

// settle waits until ingesters have brought into RAW what waited at the look.
func (u *Users) settle(ctx context.Context, w waiting) []Lack {
	ctx, cancel := context.WithTimeout(ctx, barrierTime)
	defer cancel()
	for delay := firstLook; w.err == nil && w.taken < w.end; delay = min(2*delay, lastLook) {
		select {
		case <-ctx.Done():
			w.err = fmt.Errorf("ingesters are at in:%d of %d: %w", w.taken, w.end, ctx.Err())
		case <-time.After(delay):
			_, w.taken, w.err = u.cfg.Tail.In(ctx)
		}
	}
	if w.err == nil {
		return nil
	}
	return []Lack{{What: LackDoor, Why: fmt.Sprintf("whether events wait in the NATS door is not known: %v", w.err)}}
}

// reach waits until the shards of some ids are as far as RAW is, but for those that the receipt names already.
func (u *Users) reach(ctx context.Context, who tail.Who, known bus.Receipt) (r reached) {
	shards := u.cfg.Tail.Shards()
	var want []int
	for _, id := range slices.Concat(who.Users, who.Anonymous) {
		shard := event.ShardOf(who.Source, []byte(id), shards)
		of := func(p bus.Place) bool { return p.Shard == shard }
		if !slices.Contains(want, shard) && !slices.ContainsFunc(known.Places, of) {
			want = append(want, shard)
		}
	}
	if len(want) == 0 {
		return r
	}
	ctx, cancel := context.WithTimeout(ctx, barrierTime)
	defer cancel()
	last, errs := make([]uint64, len(want)), make([]error, len(want))
	var all errgroup.Group
	for i, shard := range want {
		all.Go(func() error {
			if last[i], errs[i] = u.cfg.Tail.Stored(ctx, shard); errs[i] == nil {
				errs[i] = u.cfg.Tail.Await(ctx, bus.Place{Shard: shard, Seq: last[i]})
			}
			return nil
		})
	}
	_ = all.Wait() // the errors are in errs
	for i, shard := range want {
		// Named in any case, so that nobody looks at the shard again for this answer.
		if errs[i] == nil {
			r.receipt.Add(bus.Place{Shard: shard, Seq: last[i]})
		} else {
			r.receipt.Add(bus.Place{Shard: shard})
			r.lacks = append(r.lacks, Lack{What: LackTail, Why: fmt.Sprintf("whether shard %d has newer events is not known: %v", shard, errs[i])})
		}
	}
	return r
}
