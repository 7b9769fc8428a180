package svc

import (
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestAForeignNameIsRefusedOnLoopback(t *testing.T) {
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	local := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9090}
	open := &net.TCPAddr{IP: net.IPv4zero, Port: 9090}
	for _, c := range []struct {
		listener net.Addr
		host     string
		want     int
	}{
		{local, "127.0.0.1:9090", 200},
		{local, "localhost", 200},
		{local, "LOCALHOST:1", 200},
		{local, "[::1]:9090", 200},
		{local, "evil.example", 403},
		{local, "127.0.0.1.evil.example:9090", 403},
		{local, "", 403},
		{open, "metrics.example", 200},
	} {
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.Host = c.host
		w := httptest.NewRecorder()
		localOnly(c.listener, ok).ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("%s asked as %q: %d, want %d", c.listener, c.host, w.Code, c.want)
		}
	}
}
