package client

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// served starts a service that answers with each of the handlers in turn, the
// last one again and again.
func served(t *testing.T, patience time.Duration, handlers ...http.HandlerFunc) (*Client, *atomic.Int32) {
	t.Helper()
	var calls atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := int(calls.Add(1)) - 1
		handlers[min(n, len(handlers)-1)](w, r)
	}))
	t.Cleanup(srv.Close)
	c, err := New(Config{URL: srv.URL, Key: "k", Flag: "url", Patience: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, &calls
}

func status(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

func TestPostIsRepeatedUntilAcknowledged(t *testing.T) {
	var got string
	c, calls := served(t, time.Minute,
		status(http.StatusServiceUnavailable, ""),
		status(http.StatusTooManyRequests, `{"code":"full"}`),
		func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			got = r.Method + " " + r.URL.Path + " " + r.Header.Get("X-Write-Key") + " " + r.Header.Get("Millrace-Refused") + " " + r.Header.Get("Idempotency-Key") + " " + string(body)
			status(http.StatusOK, `{"accepted":0,"rejected":[{"index":0,"reason":"declared"}],"receipt":"1:7"}`)(w, r)
		})
	a, err := c.Post(t.Context(), Body{Data: []byte("{}"), Refused: "because", ID: "id"})
	if err != nil {
		t.Fatal(err)
	}
	if calls.Load() != 3 || a.Receipt != "1:7" || len(a.Rejected) != 1 {
		t.Errorf("%d calls, answer %+v", calls.Load(), a)
	}
	if want := "POST /v1/events k because id {}"; got != want {
		t.Errorf("sent %q, want %q", got, want)
	}
}

func TestWhatNoRepetitionMendsIsNotRepeated(t *testing.T) {
	for _, code := range []int{400, 401, 404, 413, 500} {
		c, calls := served(t, time.Minute, status(code, `{"code":"x","detail":"this is wrong"}`))
		_, err := c.Post(t.Context(), Body{})
		var s *StatusError
		if !errors.As(err, &s) || s.Status != code || s.Code != "x" || !strings.Contains(err.Error(), "this is wrong") {
			t.Errorf("%d: error %v", code, err)
		}
		if calls.Load() != 1 {
			t.Errorf("%d: %d calls, want 1", code, calls.Load())
		}
	}
}

func TestPatienceEnds(t *testing.T) {
	c, calls := served(t, 300*time.Millisecond, status(http.StatusServiceUnavailable, "NATS is away"))
	_, err := c.Post(t.Context(), Body{})
	var s *StatusError
	if !errors.As(err, &s) || s.Status != http.StatusServiceUnavailable || s.Msg != "NATS is away" {
		t.Errorf("error %v, want the last answer", err)
	}
	if calls.Load() < 2 {
		t.Errorf("%d calls, want more than one", calls.Load())
	}
}

func TestRetryAfterIsKept(t *testing.T) {
	var first, second time.Time
	c, _ := served(t, time.Minute,
		func(w http.ResponseWriter, r *http.Request) {
			first = time.Now()
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
		},
		func(w http.ResponseWriter, r *http.Request) {
			second = time.Now()
			status(http.StatusOK, `{}`)(w, r)
		})
	if _, err := c.Post(t.Context(), Body{}); err != nil {
		t.Fatal(err)
	}
	if wait := second.Sub(first); wait < time.Second {
		t.Errorf("tried again after %s, the door asked for 1s", wait)
	}
}

func TestNothingThere(t *testing.T) {
	c, err := New(Config{URL: "http://127.0.0.1:1", Flag: "url"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Post(t.Context(), Body{})
	if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "--url") {
		t.Errorf("error %v, want ErrUnreachable and the flag's name", err)
	}
	if _, err := New(Config{URL: "127.0.0.1:8080", Flag: "url"}); err == nil {
		t.Error("an address without http:// was taken")
	}
}

func TestWaitForAsksAgainUntilTheRowsAreThere(t *testing.T) {
	c, calls := served(t, time.Minute,
		status(http.StatusGatewayTimeout, `{"detail":"shard 1 is at 5 of 7"}`),
		status(http.StatusGatewayTimeout, `{"detail":"shard 1 is at 6 of 7"}`),
		status(http.StatusOK, "1\n"))
	if err := c.WaitFor(t.Context(), "1:7", time.Minute); err != nil {
		t.Fatal(err)
	}
	if calls.Load() != 3 {
		t.Errorf("%d calls, want 3", calls.Load())
	}
	late, _ := served(t, time.Minute, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-time.After(50 * time.Millisecond):
		}
		status(http.StatusGatewayTimeout, `{"detail":"shard 1 is at 5 of 7"}`)(w, r)
	})
	err := late.WaitFor(t.Context(), "1:7", 300*time.Millisecond)
	if !errors.Is(err, ErrNotYet) || !strings.Contains(err.Error(), "5 of 7") {
		t.Errorf("error %v, want ErrNotYet and how far it is", err)
	}
}

func TestSQLSendsTheQuestion(t *testing.T) {
	var got map[string][]string
	var body []byte
	c, _ := served(t, 0, func(w http.ResponseWriter, r *http.Request) {
		got = r.URL.Query()
		body, _ = io.ReadAll(r.Body)
		status(http.StatusOK, "ok")(w, r)
	})
	answer, err := c.SQL(t.Context(), Question{SQL: "SELECT {x:Int64}", Format: "TSV", Params: map[string]string{"x": "1"}, After: "0:1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := answer.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"after":["0:1"],"format":["TSV"],"param_x":["1"]}`; string(text) != want || string(body) != "SELECT {x:Int64}" {
		t.Errorf("sent %s %q", text, body)
	}
}
