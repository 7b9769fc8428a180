package demo

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// visit is one visitor's way through the shop.
type visit struct {
	anonymous string
	user      string // "" until logged in
	session   string
	origin    origin
	device    device
	locale    string
	ip        string

	page     string // where the visitor is; "" before the first page
	previous string
	title    string
	looking  product // "" sku while not at a product
	opened   product // whose page has just come up, and is looked at next
	leaves   bool    // after that
	cart     []line
	checkout bool
}

// line is one position of a cart or order.
type line struct {
	product
	quantity int
}

// act is what a visitor does: an event without its frame.
type act struct {
	kind       string // type of the Segment Spec
	name       string
	properties map[string]any
	traits     map[string]any
}

const shopURL = "https://shop.mill.example"

// arrive is a new visit; a third of them are of people with an account.
func (s *Shop) arrive() *visit {
	v := &visit{
		anonymous: fmt.Sprintf("anon-%08x", s.rng.Uint32()),
		session:   fmt.Sprintf("session-%08x", s.rng.Uint32()),
		origin:    pick(s.rng, s.origins),
		device:    pick(s.rng, s.devices),
		locale:    pick(s.rng, s.locales),
		// The documentation range 2001:db8::/32 and 203.0.113.0/24 belong to nobody.
		ip: fmt.Sprintf("203.0.113.%d", 1+s.rng.IntN(254)),
	}
	if s.rng.IntN(4) == 0 {
		v.ip = fmt.Sprintf("2001:db8:%x:%x::1", s.rng.IntN(1<<16), s.rng.IntN(1<<16))
	}
	if !v.device.bot && s.rng.IntN(3) == 0 {
		v.user = fmt.Sprintf("user-%d", 1+s.rng.IntN(s.known))
	}
	return v
}

// step is the visitor's next act and whether there may be another.
func (s *Shop) step(v *visit, now time.Time) (act, bool) {
	switch {
	case v.page == "":
		return v.goTo("/", "Mill Shop"), true
	case v.opened.sku != "":
		p := v.opened
		v.opened = product{}
		return act{kind: "track", name: "Product Viewed", properties: productProperties(p)}, !v.leaves
	case v.device.bot:
		return v.open(s.goods[s.rng.IntN(len(s.goods))], s.rng.IntN(12) > 0)
	case v.checkout:
		return s.order(v), s.rng.IntN(2) == 0
	case len(v.cart) > 0 && v.page == "/cart":
		v.checkout = true
		if v.user == "" {
			return s.signUp(v, now), true
		}
		return act{kind: "track", name: "Checkout Started", properties: cartProperties(v.cart)}, true
	case v.looking.sku != "" && s.rng.IntN(3) == 0:
		return s.addToCart(v), true
	case len(v.cart) > 0 && s.rng.IntN(2) == 0:
		return v.goTo("/cart", "Cart"), true
	}
	return s.browse(v)
}

func (s *Shop) browse(v *visit) (act, bool) {
	stays := s.rng.IntN(5) > 0
	if s.rng.IntN(8) == 0 {
		words := []string{"sourdough", "rye", "mill stone", "Brötchen", "دقيق"}
		word := words[s.rng.IntN(len(words))]
		return act{kind: "track", name: "Products Searched", properties: map[string]any{"query": word, "results": s.rng.IntN(12)}}, stays
	}
	p := s.goods[s.rng.IntN(len(s.goods))]
	if v.page == "/products/"+p.sku || s.rng.IntN(4) == 0 {
		return v.goTo("/c/"+p.category, "Category: "+p.category), stays
	}
	return v.open(p, stays)
}

// open goes to the page of a product. Nobody leaves before its Product Viewed: a shop sends both at once, and a funnel begins
// with the second.
func (v *visit) open(p product, stays bool) (act, bool) {
	a := v.goTo("/products/"+p.sku, p.name)
	v.looking, v.opened, v.leaves = p, p, !stays
	return a, true
}

func (v *visit) goTo(path, title string) act {
	v.previous, v.page, v.title, v.looking = v.page, path, title, product{}
	return act{kind: "page", name: title, properties: map[string]any{"section": section(path)}}
}

func section(path string) string {
	switch {
	case path == "/":
		return "home"
	case path == "/cart":
		return "cart"
	case len(path) > 3 && path[:3] == "/c/":
		return "category"
	}
	return "product"
}

func (s *Shop) addToCart(v *visit) act {
	p := v.looking
	v.looking = product{}
	quantity := 1 + s.rng.IntN(3)
	at := slices.IndexFunc(v.cart, func(l line) bool { return l.sku == p.sku })
	if at >= 0 {
		v.cart[at].quantity += quantity
	} else {
		v.cart = append(v.cart, line{p, quantity})
	}
	properties := productProperties(p)
	properties["quantity"] = quantity
	return act{kind: "track", name: "Product Added", properties: properties}
}

// signUp gives the visitor an account on the way to the till.
func (s *Shop) signUp(v *visit, now time.Time) act {
	s.known++
	v.user = fmt.Sprintf("user-%d", s.known)
	return act{kind: "identify", traits: map[string]any{
		"plan": []string{"guest", "regular", "baker"}[s.rng.IntN(3)], "createdAt": now.UTC().Format(time.RFC3339),
		"newsletter": s.rng.IntN(2) == 0,
	}}
}

func (s *Shop) order(v *visit) act {
	s.orders++
	properties := cartProperties(v.cart)
	goods, _ := properties["value"].(float64)
	shipping := 4.9
	if goods >= 50 {
		shipping = 0
	}
	properties["order_id"] = fmt.Sprintf("%s-%d", s.run, s.orders)
	properties["shipping"] = shipping
	properties["revenue"] = cents(goods)
	properties["total"] = cents(goods + shipping)
	v.cart, v.checkout, v.page = nil, false, "/thanks"
	return act{kind: "track", name: "Order Completed", properties: properties}
}

func productProperties(p product) map[string]any {
	return map[string]any{"sku": p.sku, "name": p.name, "category": p.category, "price": p.price, "currency": "EUR"}
}

func cartProperties(cart []line) map[string]any {
	value, count := 0.0, 0
	lines := make([]map[string]any, 0, len(cart))
	for _, l := range cart {
		value += l.price * float64(l.quantity)
		count += l.quantity
		lines = append(lines, map[string]any{"sku": l.sku, "quantity": l.quantity, "price": l.price})
	}
	return map[string]any{"value": cents(value), "items": count, "currency": "EUR", "products": lines}
}

func cents(v float64) float64 { return math.Round(v*100) / 100 }
