package users

import (
	"container/list"
	"slices"
	"time"

	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/services/query/tail"
)

// cache keeps the states of users who are active or were asked about lately, and adds every further event of theirs. The mutex of Users
// guards it.
type cache struct {
	m      *metrics
	most   int64
	used   int64
	states map[User]*state
	byID   map[string][]*state // see idKey
	order  *list.List          // of *state, the longest untouched first
	places map[*state]*list.Element
	at     []uint64 // by shard: the last frame that came
	key    []byte

	active  []User // who wait to be read ahead, the newest last
	waiting map[User]struct{}
}

func newCache(most int64, m *metrics) cache {
	return cache{
		m: m, most: most, states: map[User]*state{}, byID: map[string][]*state{}, order: list.New(), places: map[*state]*list.Element{},
		waiting: map[User]struct{}{},
	}
}

// idle is after which time without an event or a question a state is let go.
const idle = 30 * time.Minute

const (
	idUser      = 'u'
	idAnonymous = 'a'
)

func appendKey[T ~string | ~[]byte](dst []byte, kind byte, source, id T) []byte {
	dst = append(dst, kind)
	dst = append(dst, source...)
	dst = append(dst, 0)
	return append(dst, id...)
}

// keysOf are the keys of byID under which a state is found.
func keysOf(who tail.Who) (keys []string) {
	for _, id := range who.Users {
		keys = append(keys, string(appendKey(nil, idUser, who.Source, id)))
	}
	for _, id := range who.Anonymous {
		keys = append(keys, string(appendKey(nil, idAnonymous, who.Source, id)))
	}
	return keys
}

// keep takes a state in. It must be complete up to its at.
func (c *cache) keep(s *state) {
	if old := c.states[s.user]; old != nil {
		c.drop(old)
	}
	if len(c.at) < len(s.at) {
		c.at = append(c.at, make([]uint64, len(s.at)-len(c.at))...)
	}
	s.used = s.size()
	c.states[s.user] = s
	c.places[s] = c.order.PushBack(s)
	for _, k := range keysOf(s.ids) {
		c.byID[k] = append(c.byID[k], s)
	}
	c.used += s.used
	c.trim()
}

func (c *cache) drop(s *state) {
	delete(c.states, s.user)
	c.order.Remove(c.places[s])
	delete(c.places, s)
	for _, k := range keysOf(s.ids) {
		left := slices.DeleteFunc(c.byID[k], func(o *state) bool { return o == s })
		if len(left) == 0 {
			delete(c.byID, k)
		} else {
			c.byID[k] = left
		}
	}
	c.used -= s.used
}

// answer is that of a state which may be kept: it lets go of what is no longer counted.
func (c *cache) answer(s *state, now time.Time, at []uint64, o *Options, found *shown) *Context {
	was := s.used
	a := s.answer(now.UnixMilli(), at, o, found)
	if c.states[s.user] == s {
		c.used += s.used - was
	}
	return a
}

// touch notes that a state was of use, or is of a user who does something.
func (c *cache) touch(s *state, now time.Time) {
	s.touched = now
	c.order.MoveToBack(c.places[s])
}

// trim lets go of what was of no use for long, and, over the budget, of what was of none for longest.
func (c *cache) trim() {
	now := time.Now()
	for e := c.order.Front(); e != nil; e = c.order.Front() {
		s := e.Value.(*state)
		if now.Sub(s.touched) < idle && c.used <= c.most {
			break
		}
		c.drop(s)
	}
	c.m.kept.Set(float64(len(c.states)))
	c.m.bytes.Set(float64(c.used))
}

// covered is how far a kept state is.
func (c *cache) covered(s *state) []uint64 {
	at := slices.Clone(s.at)
	for i := range at {
		at[i] = max(at[i], c.at[i])
	}
	return at
}

// hook is told of every frame by the tail.
type hook Users

// Frame implements tail.Hook.
func (h *hook) Frame(f *tail.Frame, v *frame.View) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := &h.cache
	shard, seq := f.Place.Shard, f.Place.Seq
	for len(c.at) <= shard {
		c.at = append(c.at, 0)
	}
	c.at[shard] = seq
	at := time.Now()
	now := at.UnixMilli()
	for r := range v.Rows() {
		kind, id := byte(idUser), v.Str(frame.ColUserID, r)
		if len(id) == 0 {
			kind, id = idAnonymous, v.Str(frame.ColAnonymousID, r)
		}
		c.key = appendKey(c.key[:0], kind, v.Str(frame.ColSource, r), id)
		owners := c.byID[string(c.key)]
		if len(owners) == 0 {
			if kind == idUser {
				c.note(User{Source: string(v.Str(frame.ColSource, r)), ID: string(id)})
			}
			continue
		}
		e := eventOf(shard, seq, v, r)
		for _, s := range slices.Clone(owners) {
			switch {
			case seq <= s.at[shard]:
			case joins(s.ids, v, r): // of the other id, nothing is known here
				c.drop(s)
				c.note(s.user)
			default:
				c.used -= s.used
				s.add(&e, now)
				c.used += s.used
				c.touch(s, at)
				if s.stale(now) {
					c.note(s.user)
				}
			}
		}
	}
	if c.used > c.most {
		c.trim()
	}
}

// Gap implements tail.Hook: what is kept may miss events.
func (h *hook) Gap(int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := &h.cache
	for _, s := range c.states {
		c.drop(s)
	}
}
