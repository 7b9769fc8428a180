package main

import (
	"fmt"
	"math/rand/v2"
	"strconv"
)

// generator makes the events of a run: deterministic, about 600 bytes each,
// 50,000 users and some 2,400 user agents of zipf popularity, twelve event
// names, five properties. Every event has a messageId of its own.
type generator struct {
	rnd    *rand.Rand
	users  *rand.Zipf
	agents *rand.Zipf
	run    string
	n      int
}

func newGenerator(run string, seed uint64) *generator {
	r := rand.New(rand.NewPCG(seed, 600))
	return &generator{rnd: r, users: rand.NewZipf(r, 1.1, 8, 49_999), agents: rand.NewZipf(r, 1.2, 4, 2_399), run: run}
}

var eventNames = []string{
	"Product Viewed", "Product List Viewed", "Product Added", "Cart Viewed", "Checkout Started", "Payment Info Entered",
	"Order Completed", "Search Performed", "Help Requested", "Signed In", "Coupon Applied", "Wishlist Product Added",
}

// append adds one event to dst.
func (g *generator) append(dst []byte) []byte {
	r := g.rnd
	user, agent := g.users.Uint64(), g.agents.Uint64()
	product := r.IntN(20_000)
	dst = fmt.Appendf(dst, `{"type":"track","event":%q,"messageId":"bench-%s-%d","userId":"user-%d","anonymousId":"a%08x","properties":{"product_id":"sku-%d","price":%d.%02d,"quantity":%d,"category":"category-%d","currency":"EUR"},`,
		eventNames[r.IntN(len(eventNames))], g.run, g.n, user, user*2654435761, product, 1+r.IntN(300), r.IntN(100), 1+r.IntN(5), product%40)
	dst = fmt.Appendf(dst, `"context":{"page":{"url":"https://shop.example/products/%d?utm_source=newsletter&utm_campaign=c%d","title":"Product %d","referrer":"https://search.example/?q=%d"},"userAgent":"%s","ip":"203.0.%d.%d","locale":"de-DE"}}`,
		product, r.IntN(30), product, r.IntN(1000), userAgent(agent), user%256, user/256%256)
	g.n++
	return dst
}

func userAgent(n uint64) string {
	version := strconv.Itoa(80 + int(n/3%60))
	build := strconv.Itoa(int(n / 180))
	switch n % 3 {
	case 0:
		return "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/" + version + ".0." + build + ".0 Safari/537.36"
	case 1:
		return "Mozilla/5.0 (iPhone; CPU iPhone OS 17_" + build + " like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/" + version + ".0 Mobile/15E148 Safari/604.1"
	}
	return "Mozilla/5.0 (X11; Linux x86_64; rv:" + version + "." + build + ") Gecko/20100101 Firefox/" + version + "." + build
}

// bodies makes requests of `batch` events each, as JSON arrays (one event is
// sent bare).
func (g *generator) bodies(events, batch int) [][]byte {
	all := make([][]byte, 0, (events+batch-1)/batch)
	for done := 0; done < events; {
		n := min(batch, events-done)
		body := make([]byte, 0, n*640+2)
		if n == 1 && batch == 1 {
			body = g.append(body)
		} else {
			body = append(body, '[')
			for i := range n {
				if i > 0 {
					body = append(body, ',')
				}
				body = g.append(body)
			}
			body = append(body, ']')
		}
		all = append(all, body)
		done += n
	}
	return all
}
