package mcp

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/millrace/millrace/services/query/problem"
)

// start serves tools over a handler that misbehaves: status does what do says.
func start(t *testing.T, do http.HandlerFunc) string {
	t.Helper()
	s, err := New(Config{Handler: do, MaxRunning: 2, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return server.URL
}

// reply is what a call of a batch was answered.
type reply struct {
	Result struct {
		IsError           bool
		StructuredContent problem.Problem
	}
}

// post sends one call of status, or a batch of them.
func post(t *testing.T, url string, calls int) (replies []reply) {
	var list []string
	for i := range calls {
		list = append(list, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"status"}}`, i))
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("["+strings.Join(list, ",")+"]"))
	if err != nil {
		t.Error(err) // not Fatal: some ask from goroutines of their own
		return nil
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return nil
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Error(err)
		return nil
	}
	if err := json.Unmarshal(text, &replies); err != nil || len(replies) != calls {
		t.Errorf("%v: %d replies: %.500s", err, len(replies), text)
	}
	return replies
}

// A handler that breaks breaks the one call.
func TestBrokenHandlers(t *testing.T) {
	for name, tc := range map[string]struct {
		do   http.HandlerFunc
		code string
		says string
	}{
		"fault": {func(http.ResponseWriter, *http.Request) { panic("a fault") }, "internal", "has a fault"},
		"cut": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"half":`)
			panic(http.ErrAbortHandler)
		}, "unavailable", "cut short"},
		"elsewhere": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }, "internal", "HTTP 302"},
		"no words":  {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }, "internal", "HTTP 418"},
		"endless": {func(w http.ResponseWriter, r *http.Request) {
			for {
				if _, err := w.Write(make([]byte, 1000)); err != nil {
					<-r.Context().Done() // the work ends too
					return
				}
			}
		}, "too_large", "GET /v1/status over HTTP"},
	} {
		t.Run(name, func(t *testing.T) {
			replies := post(t, start(t, tc.do), 1)
			if t.Failed() {
				return
			}
			p := replies[0].Result
			if !p.IsError || p.StructuredContent.Code != tc.code || !strings.Contains(p.StructuredContent.Detail, tc.says) {
				t.Errorf("%+v, want %s %q", p, tc.code, tc.says)
			}
		})
	}
}

// No more calls run than may, however many one request brings: the others are told to come again.
func TestManyCalls(t *testing.T) {
	release := make(chan struct{})
	open := sync.OnceFunc(func() { close(release) })
	t.Cleanup(open)
	var running sync.WaitGroup
	running.Add(2)
	url := start(t, func(w http.ResponseWriter, _ *http.Request) {
		running.Done() // of a third this would panic
		<-release
		fmt.Fprint(w, `{}`)
	})
	first := make(chan []reply)
	go func() { first <- post(t, url, 2) }()
	running.Wait()
	for _, r := range post(t, url, 500) {
		if !r.Result.IsError || r.Result.StructuredContent.Code != problem.Busy.Code {
			t.Fatalf("a call too many: %+v", r)
		}
	}
	open()
	for _, r := range <-first {
		if r.Result.IsError {
			t.Errorf("%+v", r)
		}
	}
}
