package client

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestFollow: a stream that breaks off, is ended by the service with a word, or answers with an error that passes, is taken
// up behind the last event; a refusal ends it.
func TestFollow(t *testing.T) {
	event := func(id string) string { return fmt.Sprintf("id: %s\ndata: {\"event\":%q}\n\n", id, id) }
	say := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, text)
		}
	}
	var asked []string
	tries := []http.HandlerFunc{
		say("retry: 1000\n\nid: 0:1\n\n" + event("0:2") + "id: 0:3\ndata: {\"half"), // the connection ends inside of an event
		say("id: 0:4\n\n: a comment\n\nevent: gap\ndata: {\"shard\":0,\"detail\":\"5 is gone\"}\n\n" + event("0:6") + "event: end\ndata: {\"code\":\"slow\",\"detail\":\"too slow\"}\n\n"),
		status(http.StatusServiceUnavailable, `{"detail":"away"}`),
		say(event("0:7")),
	}
	n := 0
	c, _ := served(t, 0, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get("Last-Event-ID")+" "+r.URL.RawQuery)
		tries[min(n, len(tries)-1)](w, r)
		n++
	})
	var got, notices []string
	err := c.Follow(t.Context(), Following{Where: `a == "b"`, Since: "1h", Notice: func(s string) { notices = append(notices, s) }}, func(e json.RawMessage) bool {
		got = append(got, string(e))
		return len(got) < 3
	})
	if err != nil || !slices.Equal(got, []string{`{"event":"0:2"}`, `{"event":"0:6"}`, `{"event":"0:7"}`}) {
		t.Errorf("%q %v", got, err)
	}
	const query = "since=1h&where=a+%3D%3D+%22b%22"
	if !slices.Equal(asked, []string{" " + query, "0:2 " + query, "0:6 " + query, "0:6 " + query}) {
		t.Errorf("asked %q", asked)
	}
	if all := strings.Join(notices, "|"); !strings.Contains(all, "5 is gone|too slow") || !strings.Contains(all, "away") {
		t.Errorf("notices %q", notices)
	}

	refused, calls := served(t, time.Minute, status(http.StatusBadRequest, `{"detail":"the filter cannot be used"}`))
	if err := refused.Follow(t.Context(), Following{}, func(json.RawMessage) bool { return true }); err == nil || !strings.Contains(err.Error(), "filter") || calls.Load() != 1 {
		t.Errorf("%v after %d calls", err, calls.Load())
	}
}
