package ingester

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestDrainingUnderLoadLosesNothing: every request that was answered with 200
// is in RAW, none is left without an answer.
func TestDrainingUnderLoadLosesNothing(t *testing.T) {
	r := startRig(t, startNATS(t), func(c *Config) { c.Linger = 20 * time.Millisecond }).opened()
	var mu sync.Mutex
	accepted := map[string]bool{}
	var wg sync.WaitGroup
	var cut atomic.Int64
	for client := range 8 {
		wg.Go(func() {
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			for n := 0; ; n++ {
				id := fmt.Sprintf("%d-%d", client, n)
				body := fmt.Sprintf(`{"event":"e","userId":"u%d","messageId":%q}`, n, id)
				req, err := http.NewRequest(http.MethodPost, "http://"+r.in.Addr()+pathEvents, strings.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("X-Write-Key", testKey)
				resp, err := transport.RoundTrip(req)
				if err != nil {
					// A connection refused, or closed before the request was
					// read, is how a door that is closed looks.
					if strings.Contains(err.Error(), "unexpected EOF") {
						cut.Add(1)
					}
					return
				}
				resp.Body.Close()
				if resp.StatusCode == http.StatusOK {
					mu.Lock()
					accepted[id] = true
					mu.Unlock()
				}
			}
		})
	}
	eventually(t, "load", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(accepted) > 200
	})
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if cut.Load() != 0 {
		t.Errorf("%d requests were cut in the middle", cut.Load())
	}
	for _, row := range r.raw() {
		_, id, _ := strings.Cut(row.Body, `"messageId":"`)
		delete(accepted, strings.TrimSuffix(id, `"}`))
	}
	if len(accepted) != 0 {
		t.Errorf("%d accepted events are not in RAW", len(accepted))
	}
}

// TestDrainingHoldsWhatIsUnderWay: a request that waits for NATS is answered
// after the ingester was told to stop.
func TestDrainingHoldsWhatIsUnderWay(t *testing.T) {
	n := startNATS(t)
	r := startRig(t, n, func(c *Config) { c.Hold = 20 * time.Second }).opened()
	n.stop()
	done := make(chan answer, 1)
	go func() {
		a, err := r.try(good("u", 1))
		if err != nil {
			t.Error(err)
		}
		done <- a
	}()
	eventually(t, "the request is held", func() bool { return strings.Contains(r.log.String(), "requests are held") })
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	<-r.in.stopping
	if !r.notReady("http", "stopping") {
		t.Error("ready while stopping")
	}
	n.start()
	(<-done).want(t, 200)
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	eventually(t, "the reader is back", r.nc.IsConnected)
	if rows := r.raw(); len(rows) != 1 {
		t.Errorf("%d rows", len(rows))
	}
}

// TestStoppingBeforeNATSIsThere ends at once and without an error.
func TestStoppingBeforeNATSIsThere(t *testing.T) {
	n := startNATS(t)
	n.stop()
	r := startRig(t, n)
	held := make(chan answer, 1)
	go func() {
		a, err := r.try(good("u", 1))
		if err != nil {
			t.Error(err)
		}
		held <- a
	}()
	eventually(t, "a request waits", func() bool { return strings.Contains(r.log.String(), "reach NATS") })
	if err := r.stop(); err != nil {
		t.Errorf("run: %v", err)
	}
	if a := <-held; a.Status != 503 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	n.start()
}

// TestABodyThatEndsEarlyStoresNothing speaks to the socket itself.
func TestABodyThatEndsEarlyStoresNothing(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	conn, err := net.Dial("tcp", r.in.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nX-Write-Key: %s\r\nContent-Length: 5000\r\n\r\n%s", testKey, good("u", 1))
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 400 {
		t.Errorf("status %d", resp.StatusCode)
	}
	if rows := r.raw(); len(rows) != 0 {
		t.Errorf("%d rows", len(rows))
	}
	eventually(t, "its bytes are given back", func() bool { return r.in.budget.used.Load() == 0 })
}
