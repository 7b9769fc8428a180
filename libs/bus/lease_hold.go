package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/failpoint"
)

const (
	// A shard whose own failed is taken again after the first, at most the
	// last delay; one that worked for the stable time starts anew.
	faultFirst  = 100 * time.Millisecond
	faultLast   = 5 * time.Second
	faultStable = 30 * time.Second

	// A holder that was told to stop renews for so many TTLs and no longer: an
	// own that never returns must not keep the shard from everybody.
	drainTTLs = 10

	// A loop that did not get round for so many TTLs was stopped, or the clock was
	// set; what it waits for from NATS takes less.
	pausedTTLs = 3

	// faultQuiet is the longest time between two log lines of a shard that goes
	// on failing: they become rarer, as its retries do.
	faultQuiet = 5 * time.Minute
)

func (r *leaseRun) memberKey(instance string) string { return r.cfg.Service + ".member." + instance }

func (r *leaseRun) shardKey(shard int) string {
	return r.cfg.Service + ".shard." + strconv.Itoa(shard)
}

// request runs one exchange with NATS for at most the time between renewals.
func (r *leaseRun) request(do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(r.base, r.cfg.Renew)
	defer cancel()
	return do(ctx)
}

// balance compares what this instance works on with its share, and takes or
// gives the difference.
func (r *leaseRun) balance() {
	now := failpoint.Now()
	working := 0
	for _, h := range r.holds {
		if h.ctx.Err() == nil {
			working++
		}
	}
	members, counts := r.view.alive(now, r.cfg.TTL, r.cfg.Instance, working)
	share := fairShare(r.cfg.Instance, members, counts, r.cfg.Shards)

	for shard := r.cfg.Shards - 1; shard >= 0 && working > share; shard-- {
		if h := r.holds[shard]; h != nil && h.ctx.Err() == nil {
			r.cfg.Log.Info("shard is given away", "shard", shard, "members", len(members))
			r.cfg.Happened(LeaseGiven)
			h.cancel(ErrLeaseGiven)
			working--
		}
	}
	for shard := range r.cfg.Shards {
		if r.holds[shard] != nil {
			continue
		}
		seen := r.view.shards[shard]
		leftover := seen.holder == r.cfg.Instance // of a request that was answered too late
		switch {
		case seen.holder != "" && !leftover && now.Before(seen.at.Add(r.cfg.TTL)):
			continue // somebody works on it
		case working < share && !r.faulty(shard, now):
			if r.take(shard, seen) {
				working++
			}
		case leftover:
			r.release(shard, seen.revision)
		}
		if r.troubled {
			return
		}
	}
}

// clock begins all waiting anew after the clock was set. Back, what is due would
// stay so until the clock has caught up: no renewal, and the dead alive.
// Forward, or after the process was stopped, all others would be silent for long
// at once: what could not be heard is no sign of death.
func (r *leaseRun) clock() {
	now, before := failpoint.Now(), r.looked
	r.looked = now
	if before.IsZero() || !now.Before(before) && now.Sub(before) <= pausedTTLs*r.cfg.TTL {
		return
	}
	r.nextRenewal = now
	r.view.restartClocks(now)
	for _, f := range r.faults {
		f.until, f.logged = now, now
	}
	for _, h := range r.holds {
		if now.Before(h.began) {
			h.began = now
		}
		if !h.toldAt.IsZero() {
			h.toldAt = now
		}
	}
}

func (r *leaseRun) faulty(shard int, now time.Time) bool {
	f := r.faults[shard]
	return f != nil && now.Before(f.until)
}

// take makes the shard's key this instance's, if it still is as it was seen,
// and starts own.
func (r *leaseRun) take(shard int, seen lastSeen) bool {
	asked := failpoint.Now()
	var revision uint64
	err := r.request(func(ctx context.Context) (err error) {
		if seen.holder == "" {
			revision, err = r.cfg.KV.Create(ctx, r.shardKey(shard), []byte(r.cfg.Instance))
		} else {
			revision, err = r.cfg.KV.Update(ctx, r.shardKey(shard), []byte(r.cfg.Instance), seen.revision)
		}
		return err
	})
	switch {
	case overtaken(err):
		r.look(shard)
		return false
	case err != nil:
		r.trouble(fmt.Errorf("take shard %d: %w", shard, err))
		return false
	}
	r.view.shards[shard] = lastSeen{holder: r.cfg.Instance, revision: revision, at: asked, round: r.view.round}
	if seen.holder != "" && seen.holder != r.cfg.Instance {
		r.cfg.Log.Warn("shard is taken over from a silent instance", "shard", shard, "instance", seen.holder)
	} else {
		r.cfg.Log.Info("shard is taken", "shard", shard)
	}
	r.start(shard, revision, asked)
	return true
}

func (r *leaseRun) start(shard int, revision uint64, asked time.Time) {
	h := &hold{revision: revision, began: asked}
	h.ctx, h.cancel = context.WithCancelCause(r.base)
	h.expiry = time.AfterFunc(failpoint.Left(asked.Add(r.cfg.TTL), r.cfg.TTL), func() {
		r.cfg.Happened(LeaseExpired)
		h.cancel(ErrLeaseExpired)
	})
	r.holds[shard] = h
	r.cfg.Happened(LeaseTaken)
	// Ended by h.cancel, or by own itself.
	go func() { r.ended <- ending{shard: shard, err: r.own(h.ctx, shard)} }()
}

// finish is after own: release the shard, and remember a failure.
func (r *leaseRun) finish(e ending) {
	h := r.holds[e.shard]
	delete(r.holds, e.shard)
	h.expiry.Stop()
	told := h.ctx.Err() != nil
	h.cancel(nil) // frees the context of an own that was not told
	if !told {
		if e.err == nil {
			e.err = errors.New("returned without being told to stop")
		}
		r.fail(e, failpoint.Since(h.began))
	} else {
		delete(r.faults, e.shard)
		if e.err != nil && !errors.Is(e.err, context.Canceled) {
			r.cfg.Log.Error("shard did not end cleanly", "shard", e.shard, "err", e.err)
		}
	}
	if !h.lost {
		r.release(e.shard, h.revision)
	}
}

func (r *leaseRun) fail(e ending, after time.Duration) {
	f := r.faults[e.shard]
	if f == nil || after >= faultStable {
		f = &fault{}
		r.faults[e.shard] = f
	}
	delay := min(faultFirst<<min(f.count, 10), faultLast*4/5)
	f.count++
	// Several shards and processes mostly fail for one reason at one time.
	delay += rand.N(delay / 4) //nolint:gosec // no secret
	r.cfg.Happened(LeaseFailed)
	f.until = failpoint.Now().Add(delay)
	if text := e.err.Error(); text != f.text || failpoint.Since(f.logged) >= f.quiet {
		f.text, f.logged, f.quiet = text, failpoint.Now(), min(max(2*f.quiet, time.Second), faultQuiet)
		r.cfg.Log.Error("shard failed, taking it again later", "shard", e.shard, "err", e.err, "delay", delay.String(), "times", f.count)
	}
}

// release deletes the shard's key if it still is this instance's. If NATS is
// away the key stays: balance finds it as a leftover, or it expires.
func (r *leaseRun) release(shard int, revision uint64) {
	if r.troubled {
		return // a timeout for each shard would only hold up the end of others
	}
	for range 2 {
		err := r.request(func(ctx context.Context) error {
			return r.cfg.KV.Delete(ctx, r.shardKey(shard), jetstream.LastRevision(revision))
		})
		switch {
		case err == nil:
			r.view.shards[shard] = lastSeen{revision: revision, at: failpoint.Now(), round: r.view.round}
			return
		case !overtaken(err):
			r.trouble(fmt.Errorf("release shard %d: %w", shard, err))
			return
		}
		// A renewal whose answer was lost has moved the revision, or it is
		// somebody else's by now.
		if !r.look(shard) || r.view.shards[shard].holder != r.cfg.Instance {
			return
		}
		revision = r.view.shards[shard].revision
	}
}

// renewAll shows a sign of life for every shard and, if asked, for the
// instance itself. It stops at the first answer that does not come.
func (r *leaseRun) renewAll(member bool) {
	// If NATS is away there is no point in asking less often than the answer
	// takes; a bit sooner than usual, so that its return is noticed.
	r.nextRenewal = failpoint.Now().Add(r.cfg.Renew / 2)
	for shard, h := range r.holds {
		if h.lost || r.overdue(shard, h) {
			continue
		}
		if err := r.renew(shard, h); err != nil {
			r.trouble(fmt.Errorf("renew shard %d: %w", shard, err))
			return
		}
	}
	if member {
		if err := r.request(func(ctx context.Context) error {
			_, err := r.cfg.KV.Put(ctx, r.memberKey(r.cfg.Instance), []byte(r.cfg.Instance))
			return err
		}); err != nil {
			r.trouble(fmt.Errorf("renew membership: %w", err))
			return
		}
	}
	r.nextRenewal = failpoint.Now().Add(r.cfg.Renew)
	if r.troubled {
		r.troubled = false
		r.leases.trouble.Store(nil)
		// What could not be heard is no sign of death.
		r.view.restartClocks(failpoint.Now())
		r.cfg.Log.Info("leases are kept again")
	}
}

// renew moves the key's revision. A renewal of which only the answer was lost
// has moved it already, so a conflict is looked at before it is believed. It
// returns an error only if NATS gave no answer.
func (r *leaseRun) renew(shard int, h *hold) error {
	for range 2 {
		asked := failpoint.Now()
		var revision uint64
		err := r.request(func(ctx context.Context) (err error) {
			revision, err = r.cfg.KV.Update(ctx, r.shardKey(shard), []byte(r.cfg.Instance), h.revision)
			return err
		})
		switch {
		case err == nil:
			h.revision = revision
			r.view.shards[shard] = lastSeen{holder: r.cfg.Instance, revision: revision, at: asked, round: r.view.round}
			if h.ctx.Err() == nil {
				h.expiry.Reset(failpoint.Left(asked.Add(r.cfg.TTL), r.cfg.TTL))
			}
			return nil
		case !overtaken(err):
			return err
		case !r.look(shard):
			return nil // look has said so
		case r.view.shards[shard].holder != r.cfg.Instance:
			r.lose(shard, h)
			return nil
		}
		h.revision = r.view.shards[shard].revision
	}
	return nil
}

// overdue reports that own was told to stop so long ago that its shard is not
// renewed any more.
func (r *leaseRun) overdue(shard int, h *hold) bool {
	switch {
	case h.ctx.Err() == nil:
		return false
	case h.toldAt.IsZero():
		h.toldAt = failpoint.Now()
		return false
	case failpoint.Since(h.toldAt) < drainTTLs*r.cfg.TTL:
		return false
	}
	r.cfg.Log.Error("shard has not ended although told to; its lease is left to expire", "shard", shard)
	h.lost = true
	return true
}

// see takes in what the watcher heard.
func (r *leaseRun) see(s sighting) {
	shard, isShard := r.view.see(s, failpoint.Now(), r.cfg.Service)
	if !isShard {
		return
	}
	holder := r.view.shards[shard].holder
	switch h := r.holds[shard]; {
	case holder == r.cfg.Instance:
	case h == nil && holder != "":
		r.cfg.Theirs(shard)
	case h != nil && !h.lost && s.revision > h.revision:
		r.lose(shard, h)
	}
}

func (r *leaseRun) lose(shard int, h *hold) {
	r.cfg.Log.Warn("shard is lost to another instance", "shard", shard, "instance", r.view.shards[shard].holder)
	h.lost = true
	r.cfg.Happened(LeaseLost)
	h.cancel(ErrLeaseLost)
}

// look asks for the shard's key and reports whether there was an answer.
func (r *leaseRun) look(shard int) bool {
	var entry jetstream.KeyValueEntry
	err := r.request(func(ctx context.Context) (err error) {
		entry, err = r.cfg.KV.Get(ctx, r.shardKey(shard))
		return err
	})
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		seen := r.view.shards[shard]
		r.view.shards[shard] = lastSeen{revision: seen.revision, at: failpoint.Now(), round: r.view.round}
	case err != nil:
		r.trouble(fmt.Errorf("look at shard %d: %w", shard, err))
		return false
	case entry.Revision() != r.view.shards[shard].revision || r.view.shards[shard].holder != string(entry.Value()):
		r.view.shards[shard] = lastSeen{holder: string(entry.Value()), revision: entry.Revision(), at: failpoint.Now(), round: r.view.round}
	}
	return true
}

// trouble remembers that NATS did not answer and logs it once.
func (r *leaseRun) trouble(err error) {
	if !r.troubled {
		r.cfg.Log.Warn("leases cannot be kept; work goes on until they expire", "err", err, "shards", slices.Sorted(maps.Keys(r.holds)))
		r.cfg.Happened(LeaseUnanswered)
		r.leases.trouble.Store(&err)
	}
	r.troubled = true
}

// overtaken reports that a key was not as expected: somebody was faster.
func overtaken(err error) bool {
	return errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch)
}
