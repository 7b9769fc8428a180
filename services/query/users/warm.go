package users

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/millrace/millrace/services/query/tail"
)

const (
	// warmShare bounds what reading ahead costs: of the time, one part in so many is spent on it; and one in warmHurry while more
	// users are waiting than one reading takes, as after a start.
	warmShare = 5
	warmHurry = 2
	// maxActive bounds the users who wait to be read ahead; the newest are read first.
	maxActive = 1 << 16
	// stale is the age from which a kept state of a user who is active is read anew, before its life ends.
	stale = life * 3 / 4
	// warmPause is how long to wait when nobody is waiting, or ClickHouse gives no answer.
	warmPause = 250 * time.Millisecond
	// warmTime is how long ClickHouse may take for many users.
	warmTime = 25 * time.Second
	// A reading begins with few users, and has more of them as long as ClickHouse answers within warmGoal: each statement reads
	// the table once for all of them, so a thousand cost little more than fifty.
	warmFirst = 16
	warmMost  = 4096
	warmGoal  = 10 * time.Second
	// warmBehind is how many bytes may be on their way to ClickHouse while users are read ahead: some 75,000 events, of 5,000 a
	// second those of a quarter of a minute. Beyond it events come in bulk, the names in them are not who will be asked about
	// next, and the cores are for the events.
	warmBehind = 16 << 20
)

// Run reads users ahead who are active, so that whoever asks about them need not wait for ClickHouse; until ctx is done,
// whose error it returns. Answers are the same without it.
func (u *Users) Run(ctx context.Context) error {
	most := warmFirst
	for {
		pause := warmPause
		if some := u.nextActive(most); len(some) > 0 {
			began := time.Now()
			err := u.ahead(ctx, some)
			took := time.Since(began)
			share := time.Duration(warmShare)
			if len(some) == most {
				share = warmHurry
			}
			switch {
			case err != nil:
				most = max(warmFirst, most/4)
			case took > warmGoal:
				most = max(warmFirst, most*3/4)
			case len(some) == most && took < warmGoal/2:
				most = min(warmMost, 2*most)
			}
			pause = max((share-1)*took, warmFirstPause)
			if err != nil {
				pause = max(pause, warmPause)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("read users ahead: %w", ctx.Err())
		case <-time.After(pause):
		}
	}
}

// warmFirstPause lets a few users come together.
const warmFirstPause = 20 * time.Millisecond

// nextActive are users of one source who were active last and are not kept, or not for much longer.
func (u *Users) nextActive(most int) (some []User) {
	if u.cfg.Tail.Unproven() > warmBehind { // before the lock, which is taken under the tail's
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	c := &u.cache
	now := time.Now().UnixMilli()
	text := 0
	for n := len(c.active); n > 0 && len(some) < most && text < maxIDsText/2; n = len(c.active) {
		user := c.active[n-1]
		if len(some) > 0 && user.Source != some[0].Source {
			break
		}
		c.active = c.active[:n-1]
		delete(c.waiting, user)
		if s := c.states[user]; s == nil || s.stale(now) {
			some = append(some, user)
			text += len(url.QueryEscape(user.ID)) + len("%27%27%2C")
		}
	}
	return some
}

// aheadOf is the reading of one user among many.
type aheadOf struct {
	s      *state
	x      *ids
	events []entry
	after  []uint64
}

// ahead reads users of one source, all in the same statements. Of whom anything lacks, nothing is kept.
func (u *Users) ahead(ctx context.Context, users []User) error {
	ctx, cancel := context.WithTimeout(ctx, warmTime)
	defer cancel()
	pin := u.cfg.Tail.Pin()
	defer pin.Release()
	marks, now := pin.Marks(), time.Now().UnixMilli()
	all := make([]*aheadOf, len(users))
	for i, user := range users {
		all[i] = &aheadOf{s: newState(user, now), x: newIDs(user)}
	}
	for range maxRounds {
		who := tail.Who{Source: users[0].Source}
		owners := map[string][]*aheadOf{}
		for _, a := range all {
			var err error
			if a.events, a.after, err = u.joinTail(pin, a.x); err != nil {
				return err
			}
			if len(who.Users)+len(who.Anonymous) > 2*warmMost { // somebody has very many; that is not for here
				continue
			}
			fresh := a.own(owners)
			who.Users, who.Anonymous = append(who.Users, fresh.Users...), append(who.Anonymous, fresh.Anonymous...)
		}
		if len(owners) == 0 {
			break
		}
		if err := u.aheadRound(ctx, who, marks, now, owners); err != nil {
			return err
		}
	}
	for _, a := range all {
		if a.x.isFresh() || len(a.s.lacks) > 0 {
			continue
		}
		if _, err := u.finish(pin, a.s, a.x, a.events, a.after, &Options{}, nil, true); err != nil {
			return err
		}
		u.m.answers.WithLabelValues("ahead").Inc()
	}
	return nil
}

// own notes whose the ids are that nobody has looked at, and returns these.
func (a *aheadOf) own(owners map[string][]*aheadOf) tail.Who {
	fresh := a.x.take()
	for _, id := range fresh.Users {
		owners[ownerUser+id] = append(owners[ownerUser+id], a)
	}
	for _, id := range fresh.Anonymous {
		owners[ownerAnonymous+id] = append(owners[ownerAnonymous+id], a)
	}
	return fresh
}

// widenAhead adds to some ids all that their events in ClickHouse lead to.
func (u *Users) widenAhead(ctx context.Context, who tail.Who, marks []uint64, owners map[string][]*aheadOf) (tail.Who, error) {
	next := tail.Who{Source: who.Source, Users: distinct(slices.Clone(who.Users))}
	for round := 0; len(next.Users) > 0 && len(who.Users)+len(who.Anonymous) <= 2*warmMost && round < maxRounds; round++ {
		led := map[*aheadOf]bool{}
		err := u.joined(ctx, next, marks, func(userID, kind, other string) {
			for _, a := range owners[ownerUser+userID] {
				a.x.join(kind, userID, other, other)
				led[a] = true
			}
		})
		if err != nil {
			return who, err
		}
		next.Users = nil
		for a := range led {
			fresh := a.own(owners)
			next.Users = append(next.Users, fresh.Users...)
			who.Users, who.Anonymous = append(who.Users, fresh.Users...), append(who.Anonymous, fresh.Anonymous...)
		}
		next.Users = distinct(next.Users)
	}
	return who, nil
}

// aheadRound folds what ClickHouse has of some ids into the states of those whose they are.
func (u *Users) aheadRound(ctx context.Context, who tail.Who, marks []uint64, now int64, owners map[string][]*aheadOf) error {
	who, err := u.widenAhead(ctx, who, marks, owners)
	if err != nil {
		return err
	}
	who.Users, who.Anonymous = distinct(who.Users), distinct(who.Anonymous) // two users may have an id in common
	for len(who.Users)+len(who.Anonymous) > 0 {
		some := tail.Who{Source: who.Source}
		left := maxIDsText
		some.Users, who.Users, left = cutIDs(who.Users, left)
		some.Anonymous, who.Anonymous, _ = cutIDs(who.Anonymous, left)
		histories, err := u.histories(ctx, some, marks, reading{now: now, recent: defaultRecent, apart: true})
		if err != nil {
			return err
		}
		for owner, h := range histories {
			for _, a := range owners[owner] {
				h.fold(a.s, a.x)
			}
		}
	}
	return nil
}

func distinct(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}

func (s *state) stale(now int64) bool { return now-s.loaded > stale.Milliseconds() }

// note puts a user among those who wait to be read ahead.
func (c *cache) note(user User) {
	if _, ok := c.waiting[user]; ok {
		return
	}
	if len(c.active) >= maxActive { // the oldest half have been overtaken
		for _, old := range c.active[:maxActive/2] {
			delete(c.waiting, old)
		}
		c.active = append(c.active[:0], c.active[maxActive/2:]...)
	}
	c.active = append(c.active, user)
	c.waiting[user] = struct{}{}
}
