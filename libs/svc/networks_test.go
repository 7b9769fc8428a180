package svc

import (
	"net/http/httptest"
	"testing"
)

func TestClientIP(t *testing.T) {
	for _, c := range []struct {
		name    string
		remote  string
		trusted string
		forward []string
		want    string
	}{
		{"no proxies named: the header is not believed", "192.0.2.1:5", "", []string{"1.1.1.1"}, "192.0.2.1"},
		{"from somebody else", "192.0.2.1:5", "10.0.0.0/8", []string{"1.1.1.1"}, "192.0.2.1"},
		{"from a proxy", "10.1.2.3:5", "10.0.0.0/8", []string{"198.51.100.7"}, "198.51.100.7"},
		{"what the client wrote itself stands left", "10.1.2.3:5", "10.0.0.0/8", []string{"1.1.1.1, 198.51.100.7"}, "198.51.100.7"},
		{"two proxies", "10.1.2.3:5", "10.0.0.0/8,192.0.2.9", []string{"1.1.1.1, 198.51.100.7", "192.0.2.9"}, "198.51.100.7"},
		{"all trusted", "10.1.2.3:5", "10.0.0.0/8", []string{"10.0.0.1, 10.0.0.2"}, "10.0.0.1"},
		{"no header", "10.1.2.3:5", "10.0.0.0/8", nil, "10.1.2.3"},
		{"rubbish at the right", "10.1.2.3:5", "10.0.0.0/8", []string{"198.51.100.7, unknown"}, "10.1.2.3"},
		{"port and brackets", "[::1]:5", "::1", []string{"[2001:db8::1]:443"}, "2001:db8::1"},
		{"port", "[::1]:5", "::1", []string{"198.51.100.7:1234"}, "198.51.100.7"},
		{"v4 in v6", "[::ffff:10.1.2.3]:5", "10.0.0.0/8", []string{"::ffff:198.51.100.7"}, "198.51.100.7"},
		{"zone", "[fe80::1%eth0]:5", "", nil, "fe80::1"},
		{"no address", "@", "", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var trusted Networks
			if err := trusted.Set(c.trusted); err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequest("POST", "/", nil)
			r.RemoteAddr = c.remote
			r.Header["X-Forwarded-For"] = c.forward
			if got := trusted.ClientIP(r); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
	var n Networks
	if err := n.Set("10.0.0.1/8, 192.0.2.9,"); err != nil || n.String() != "10.0.0.0/8,192.0.2.9/32" {
		t.Errorf("%v %s", err, n.String())
	}
	for _, bad := range []string{"10.0.0.0/33", "proxy.example", "10.0.0.1-10.0.0.9"} {
		if err := n.Set(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
