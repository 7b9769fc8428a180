package main

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// usualSize is the mean size of an event in bytes; benchmarks of others that
// we compare with were made with events of this size.
const usualSize = 628

const (
	users  = 50_000
	agents = 2_400
)

// generator makes the events of a run: deterministic, what a browser SDK sends
// about a shop. 50,000 users and 2,400 user agents of zipf popularity, twelve
// event names, five properties; 33 columns of the table get a value. Every
// event has a messageId of its own. Made for speed: a run's events are ready
// within a second or two.
type generator struct {
	rnd       *rand.Rand
	users     *rand.Zipf
	agents    *rand.Zipf
	agentText []string
	size      int    // mean bytes of an event
	id        string // begins every messageId
	n         int
	clock     time.Time
	pick      func() uint64 // another choice of users, if not nil
	last      uint64        // the user of the last event
}

// newGenerator makes another stream of events for each run and seed; the same
// for the same.
func newGenerator(run string, seed uint64, size int) *generator {
	r := rand.New(rand.NewPCG(seed, usualSize))
	g := &generator{
		rnd: r, users: rand.NewZipf(r, 1.1, 8, users-1), agents: rand.NewZipf(r, 1.2, 4, agents-1), agentText: make([]string, agents),
		size: size, id: "bench-" + run + "-", clock: time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC),
	}
	for i := range g.agentText {
		g.agentText[i] = userAgent(i)
	}
	return g
}

var eventNames = []string{
	"Product Viewed", "Product List Viewed", "Product Added", "Cart Viewed", "Checkout Started", "Payment Info Entered",
	"Order Completed", "Search Performed", "Help Requested", "Signed In", "Coupon Applied", "Wishlist Product Added",
}

var locales = []string{"de-DE", "en-GB", "en-US", "fr-FR", "nl-NL"}

// append adds one event to dst.
func (g *generator) append(dst []byte) []byte {
	r := g.rnd
	user := g.users.Uint64()
	if g.pick != nil {
		user = g.pick()
	}
	g.last = user
	agent := g.agentText[g.agents.Uint64()]
	product := int64(r.IntN(20_000))
	number := func(before string, n int64) {
		dst = append(dst, before...)
		dst = strconv.AppendInt(dst, n, 10)
	}
	g.clock = g.clock.Add(time.Duration(r.IntN(1_000)) * time.Microsecond)

	dst = append(dst, `{"type":"track","event":"`...)
	dst = append(dst, eventNames[r.IntN(len(eventNames))]...)
	dst = append(append(dst, `","messageId":"`...), g.id...)
	number("", int64(g.n))
	g.n++
	number(`","userId":"user-`, int64(user))
	if g.size < usualSize {
		dst = append(dst, `","timestamp":"`...)
		dst = g.clock.AppendFormat(dst, stampLayout)
		number(`","properties":{"sku":"SKU-`, product)
		number(`","price":`, 1+int64(r.IntN(300)))
		number(`,"quantity":`, 1+int64(r.IntN(5)))
		number(`,"category":"category-`, product%40)
		number(`"},"context":{"page":{"url":"https://shop.example/products/`, product)
		dst = append(append(dst, `"},"locale":"`...), locales[user%5]...)
		return append(dst, `"}}`...)
	}
	dst = append(dst, `","anonymousId":"`...)
	dst = fmt16(dst, user*0x9e3779b97f4a7c15)
	dst = append(dst, `","timestamp":"`...)
	dst = g.clock.AppendFormat(dst, stampLayout)
	dst = append(dst, `","sentAt":"`...)
	dst = g.clock.Add(600*time.Millisecond).AppendFormat(dst, stampLayout)
	number(`","properties":{"sku":"SKU-`, product)
	number(`","price":`, 1+int64(r.IntN(300)))
	number(`.`, 10+int64(r.IntN(90)))
	number(`,"quantity":`, 1+int64(r.IntN(5)))
	number(`,"category":"cat-`, product%40)
	dst = append(dst, `","in_stock":true`...)
	if g.size > usualSize {
		dst = g.appendOrder(dst)
	}
	dst = append(append(dst, `},"context":{"userAgent":"`...), agent...)
	number(`","ip":"203.0.`, int64(user%256))
	number(`.`, int64(user/256%256))
	dst = append(append(dst, `","locale":"`...), locales[user%5]...)
	number(`","page":{"url":"https://shop.example/products/`, product)
	number(`?utm_source=newsletter&utm_campaign=c`, int64(r.IntN(30)))
	number(`","title":"Product `, product)
	number(`","referrer":"https://search.example/?q=`, int64(r.IntN(1000)))
	return append(dst, `"}}}`...)
}

const stampLayout = "2006-01-02T15:04:05.000Z"

// lineSize is about the size of one line of an order: large, because an event
// may have a thousand keys.
const lineSize = 186

// appendOrder makes an event larger the way orders are: by their lines, which
// become one nested property.
func (g *generator) appendOrder(dst []byte) []byte {
	enough := len(dst) + g.size - usualSize - lineSize/2
	dst = append(dst, `,"products":[`...)
	for first := true; first || len(dst) < enough; first = false {
		if !first {
			dst = append(dst, ',')
		}
		n := g.rnd.Uint64()
		dst = append(dst, `{"sku":"SKU-`...)
		dst = strconv.AppendUint(dst, 10_000+n%20_000, 10)
		dst = append(dst, `","price":`...)
		dst = strconv.AppendUint(dst, 100+n%900, 10)
		dst = append(dst, `,"name":"Product number `...)
		dst = fmt16(dst, n)
		dst = append(dst, ` in the colour of the season, with a longer text of what it is made of, as shops put it into their orders"}`...)
	}
	return append(dst, ']')
}

// fmt16 appends sixteen hexadecimal digits.
func fmt16(dst []byte, n uint64) []byte {
	const digits = "0123456789abcdef"
	for shift := 60; shift >= 0; shift -= 4 {
		dst = append(dst, digits[n>>shift&15])
	}
	return dst
}

func userAgent(n int) string {
	version, build := 80+n/3%60, n/180
	switch n % 3 {
	case 0:
		return fmt.Sprintf("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%d.0.%d.0 Safari/537.36", version, build)
	case 1:
		return fmt.Sprintf("Mozilla/5.0 (iPhone; CPU iPhone OS 17_%d like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/%d.0 Mobile/15E148 Safari/604.1", build, version)
	}
	return fmt.Sprintf("Mozilla/5.0 (X11; Linux x86_64; rv:%d.%d) Gecko/20100101 Firefox/%d.%d", version, build, version, build)
}

// load is what a run sends: bodies of `batch` events each.
type load struct {
	bodies [][]byte
	events int
}

// load makes the next bodies of a run, JSON arrays of batch events; with a
// batch of 1 the events are bare. All lie in one piece of memory, so that the
// generator has nothing to collect while the clock runs.
func (g *generator) load(events, batch int) load {
	arena := make([]byte, 0, events*(g.size+g.size/8+64))
	ends := make([]int, 0, events/batch+1)
	for done := 0; done < events; {
		n := min(batch, events-done)
		if batch == 1 {
			arena = g.append(arena)
		} else {
			arena = append(arena, '[')
			for i := range n {
				if i > 0 {
					arena = append(arena, ',')
				}
				arena = g.append(arena)
			}
			arena = append(arena, ']')
		}
		ends = append(ends, len(arena))
		done += n
	}
	l := load{bodies: make([][]byte, len(ends)), events: events}
	from := 0
	for i, to := range ends {
		l.bodies[i] = arena[from:to:to]
		from = to
	}
	return l
}
