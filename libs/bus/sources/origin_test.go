package sources

import (
	"strings"
	"testing"
)

func TestOrigins(t *testing.T) {
	for allowed, tests := range map[string]map[string]bool{
		"https://shop.example.com": {
			"https://shop.example.com": true, "HTTPS://Shop.Example.Com": true, "": true,
			"http://shop.example.com": false, "https://shop.example.com:8443": false, "https://example.com": false, "null": false,
			"https://shop.example.com.evil.org": false, "https://evil-shop.example.com": false,
		},
		"https://*.example.com": {
			"https://a.example.com": true, "https://a.b.example.com": true,
			"https://example.com": false, "https://evilexample.com": false, "https://example.com.evil.org": false,
			"https://.example.com": false, "https://..example.com": false, "http://a.example.com": false, "https://a.example.com:444": false,
			"https://evil.org/.example.com": false, "https://user@a.example.com": false, "null": false,
		},
		"http://*.localhost:3000":  {"http://app.localhost:3000": true, "http://app.localhost": false, "http://localhost:3000": false},
		"HTTPS://Example.COM:443/": {"https://example.com": true},
		"http://[::1]:8080":        {"http://[::1]:8080": true, "http://[::1]": false},
	} {
		r := Record{Name: "shop", Origins: []string{allowed}}
		if err := r.Validate(); err != nil {
			t.Errorf("%s: %v", allowed, err)
			continue
		}
		s := newSource(r, nil)
		for origin, want := range tests {
			if s.AllowsOrigin(origin) != want {
				t.Errorf("%s (kept as %s) allows %q: %v", allowed, r.Origins[0], origin, !want)
			}
		}
	}
	if !newSource(Record{Name: "shop"}, nil).AllowsOrigin("https://anywhere.org") {
		t.Error("without a list an origin is kept out")
	}
	for _, bad := range []string{
		"", "shop.example.com", "https://", "*", "https://*", "https://*.com", "https://a.*.com", "https://*shop.example.com", "https://shop.example.com/path",
		"https://user@shop.example.com", "https://shop.example.com?x", "null", "https://example.com.", "https://*.",
		"https://müller.de", "https://*.müller.de:8443", "https://m%C3%BCller.de",
	} {
		if err := (&Record{Name: "shop", Origins: []string{bad}}).Validate(); err == nil {
			t.Errorf("origin %q is taken", bad)
		}
	}
}

func TestAllowList(t *testing.T) {
	for _, tc := range []struct {
		allow      Allow
		kind, name string
		want       bool
	}{
		{Allow{}, "track", "Order Completed", true},
		{Allow{Names: []string{"Order Completed"}}, "track", "Order Completed", true},
		{Allow{Names: []string{"Order Completed"}}, "track", "order completed", false},
		{Allow{Names: []string{"Order Completed"}}, "identify", "", false},
		{Allow{Names: []string{"Home"}}, "page", "Home", true},
		{Allow{Types: []string{"identify", "page"}}, "page", "", true},
		{Allow{Types: []string{"identify", "page"}}, "track", "page", false},
		{Allow{Types: []string{"identify"}, Names: []string{"Order Completed"}}, "track", "Order Completed", true},
	} {
		if got := newSource(Record{Name: "shop", Allow: tc.allow}, nil).AllowsEvent([]byte(tc.kind), []byte(tc.name)); got != tc.want {
			t.Errorf("%+v, %s %q: %v", tc.allow, tc.kind, tc.name, got)
		}
	}
	for _, bad := range []Allow{{Types: []string{"Page"}}, {Names: []string{""}}} {
		if err := (&Record{Name: "shop", Allow: bad}).Validate(); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

// TestAStoredOriginInAnotherAlphabet: the source is known all the same, and
// nothing is opened by it.
func TestAStoredOriginInAnotherAlphabet(t *testing.T) {
	r, err := parse("shop", []byte(`{"version":1,"name":"shop","origins":["https://müller.de","https://Shop.example"]}`))
	if err != nil {
		t.Fatal(err)
	}
	s := newSource(r, nil)
	if s.AllowsOrigin("https://xn--mller-kva.de") || s.AllowsOrigin("https://evil.example") || !s.AllowsOrigin("https://shop.example") {
		t.Errorf("origins %v", r.Origins)
	}
	if err := r.Validate(); err == nil || !strings.Contains(err.Error(), "punycode") {
		t.Errorf("it is taken again: %v", err)
	}
	good := Record{Name: "shop", Origins: []string{"https://xn--mller-kva.de"}}
	if err := good.Validate(); err != nil || !newSource(good, nil).AllowsOrigin("https://xn--mller-kva.de") {
		t.Errorf("as browsers send it: %v", err)
	}
}
