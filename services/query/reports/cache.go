package reports

import (
	"container/list"
	"sync"
	"time"
)

// Limits of the cache.
const (
	maxCached      = 500
	maxCachedBytes = 32 << 20
	// maxEntryBytes keeps one answer from pushing out all others.
	maxEntryBytes = maxCachedBytes / 8
)

// cache keeps the answers that were computed last, for askers who take an older one.
type cache struct {
	mu    sync.Mutex // guards all below
	bytes int
	byKey map[string]*list.Element
	order *list.List // of *cached, the one that was put last in front
}

type cached struct {
	key    string
	answer *Answer
	bytes  int
}

func newCache() *cache { return &cache{byKey: map[string]*list.Element{}, order: list.New()} }

// get returns an answer that is not older than that, with its age told; nil when there is none.
func (c *cache) get(key string, maxAge time.Duration, now time.Time) *Answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	el := c.byKey[key]
	if el == nil {
		return nil
	}
	a := *el.Value.(*cached).answer
	age := now.Sub(a.AsOf)
	if age > maxAge {
		return nil
	}
	// Never 0, which says that it was computed anew.
	a.Age = max(age, time.Millisecond).Round(time.Millisecond).Seconds()
	return &a
}

func (c *cache) put(key string, a *Answer) {
	e := &cached{key, a, len(key) + len(a.Result) + 1024}
	if a.Previous != nil {
		e.bytes += len(a.Previous.Result)
	}
	if e.bytes > maxEntryBytes {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.byKey[key]; old != nil {
		if old.Value.(*cached).answer.AsOf.After(a.AsOf) {
			return
		}
		c.drop(old)
	}
	c.byKey[key] = c.order.PushFront(e)
	c.bytes += e.bytes
	for c.order.Len() > maxCached || c.bytes > maxCachedBytes {
		c.drop(c.order.Back())
	}
}

func (c *cache) drop(el *list.Element) {
	e := el.Value.(*cached)
	c.order.Remove(el)
	delete(c.byKey, e.key)
	c.bytes -= e.bytes
}
