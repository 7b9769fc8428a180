package svc

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// LocalName says whether a Host header names this machine by itself: an
// address of the loopback, or localhost. A web page can make a browser send
// requests here under a name that its owner lets point to 127.0.0.1 (DNS
// rebinding), but cannot forge the name.
func LocalName(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	if strings.EqualFold(name, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil && a.Unmap().IsLoopback()
}

// OnLoopback says whether a listener is reachable from this machine only.
func OnLoopback(a net.Addr) bool {
	ap, err := netip.ParseAddrPort(a.String())
	return err == nil && ap.Addr().Unmap().IsLoopback()
}

// localOnly refuses requests under a foreign name on a loopback listener.
func localOnly(listener net.Addr, next http.Handler) http.Handler {
	if !OnLoopback(listener) {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !LocalName(r.Host) {
			http.Error(w, "this address is for this machine only; call it localhost or 127.0.0.1, or listen on another one with --admin-addr", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}
