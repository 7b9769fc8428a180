package demo

// product is one thing that the shop sells; price in euros.
type product struct {
	sku, name, category string
	price               float64
}

// catalogue returns what is sold: goods of a mill.
func catalogue() []product {
	return []product{
		{"FL-RYE-1", "Rye Flour 1 kg", "flour", 2.9},
		{"FL-SPE-1", "Spelt Flour 1 kg", "flour", 3.6},
		{"FL-WHT-5", "Wheat Flour 5 kg", "flour", 7.5},
		{"FL-BUC-1", "Buckwheat Flour 1 kg", "flour", 5.2},
		{"GR-OAT-2", "Oat Flakes 2 kg", "grain", 4.8},
		{"GR-BAR-1", "Pearl Barley 1 kg", "grain", 3.1},
		{"MI-HND-1", "Hand Mill, Oak", "mills", 129},
		{"MI-ELE-1", "Electric Stone Mill", "mills", 389},
		{"BK-PROOF", "Proofing Basket", "baking", 18.5},
		{"BK-STONE", "Baking Stone", "baking", 34},
		{"BK-LAME", "Scoring Knife", "baking", 9.9},
		{"YE-SOUR", "Dried Sourdough", "leaven", 6.4},
	}
}

// weighted is a choice that comes up in proportion to its weight.
type weighted[T any] struct {
	weight int
	value  T
}

// origin is where a visit comes from.
type origin struct {
	referrer                 string
	source, medium, campaign string // UTM; empty for none
}

func origins() []weighted[origin] {
	return []weighted[origin]{
		{34, origin{}},
		{26, origin{referrer: "https://www.google.com/"}},
		{5, origin{referrer: "https://duckduckgo.com/"}},
		{9, origin{referrer: "https://www.google.com/", source: "google", medium: "cpc", campaign: "autumn-flour"}},
		{8, origin{referrer: "https://www.instagram.com/", source: "instagram", medium: "social", campaign: "sourdough-week"}},
		{8, origin{source: "newsletter", medium: "email", campaign: "harvest-letter"}},
		{4, origin{referrer: "https://news.ycombinator.com/item?id=4242"}},
		{3, origin{referrer: "https://chatgpt.com/", source: "chatgpt.com"}},
		{3, origin{referrer: "https://baking.example/forum/starter"}},
	}
}

// device is how a visitor looks at the shop. Bots look and never buy.
type device struct {
	agent string
	bot   bool
}

func devices() []weighted[device] {
	return []weighted[device]{
		{24, device{agent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"}},
		{22, device{agent: "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1"}},
		{17, device{agent: "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36"}},
		{11, device{agent: "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15"}},
		{8, device{agent: "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0"}},
		{7, device{agent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0"}},
		{6, device{agent: "Mozilla/5.0 (iPad; CPU OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1"}},
		{5, device{agent: "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", bot: true}},
	}
}

func locales() []weighted[string] {
	return []weighted[string]{{40, "de-DE"}, {25, "en-GB"}, {15, "en-US"}, {10, "fr-FR"}, {6, "nl-NL"}, {4, "ar-EG"}}
}
