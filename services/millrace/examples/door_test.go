package examples

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
)

// badDoor stands before a door and does to the first requests what a door on a bad day does.
type badDoor struct {
	url string

	mu     sync.Mutex
	faults []func(w http.ResponseWriter, r *http.Request, door http.Handler)
	again  int // events whose answer was lost after they were stored
}

func newBadDoor(t *testing.T, door string) *badDoor {
	t.Helper()
	to, err := url.Parse(door)
	if err != nil {
		t.Fatal(err)
	}
	d := &badDoor{}
	refuse := func(status int, detail, retryAfter string) func(http.ResponseWriter, *http.Request, http.Handler) {
		return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			if retryAfter != "" {
				w.Header().Set("Retry-After", retryAfter)
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, detail) // whoever is gone needs no words
		}
	}
	d.faults = append(d.faults,
		refuse(http.StatusServiceUnavailable, `{"detail":"not now"}`, "1"),
		d.loseAnswer,
		refuse(http.StatusTooManyRequests, `{"detail":"slowly"}`, "1"),
		refuse(http.StatusInternalServerError, `<html>`, ""),
		d.tooLarge,
	)
	proxy := httputil.NewSingleHostReverseProxy(to)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock() // the application has one sender
		defer d.mu.Unlock()
		if len(d.faults) == 0 {
			proxy.ServeHTTP(w, r)
			return
		}
		fault := d.faults[0]
		d.faults = d.faults[1:]
		fault(w, r, proxy)
	}))
	t.Cleanup(server.Close)
	d.url = server.URL
	return d
}

// loseAnswer stores the events and cuts the connection instead of saying so.
func (d *badDoor) loseAnswer(_ http.ResponseWriter, r *http.Request, door http.Handler) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	d.again = 1 + bytes.Count(body, []byte("\n"))
	r.Body = io.NopCloser(bytes.NewReader(body))
	door.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// tooLarge refuses a batch because of its size; one event by itself is let through, and the next batch is refused.
func (d *badDoor) tooLarge(w http.ResponseWriter, r *http.Request, door http.Handler) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if bytes.Contains(body, []byte("\n")) {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	d.faults = append(d.faults, d.tooLarge)
	r.Body = io.NopCloser(bytes.NewReader(body))
	door.ServeHTTP(w, r)
}

// left is how many faults have not happened yet.
func (d *badDoor) left() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.faults)
}

// repeated is how many events come twice because of it.
func (d *badDoor) repeated() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.again
}
