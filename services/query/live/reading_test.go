package live

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/libs/testkit"
)

// TestARareFilter: a reader that is far behind, and whose filter lets nothing through, hears how far it is, and would go on
// from there.
func TestARareFilter(t *testing.T) {
	const frames, each = 200, 100
	r := newRig(t, func(r *rig, c *Config) {
		c.Beat = time.Millisecond
		names := slices.Repeat([]string{"0 " + strings.Repeat("often ", 20)}, each)
		for range frames {
			r.publish(0, names...)
		}
	})
	testkit.Eventually(t, "the tail is there", func() bool { p := r.tail.Position(); return len(p) == 2 && p[0] == frames })
	s := r.open("/v1/live", url.Values{"after": {"0:0,1:0"}, "where": {`event matches "rare$"`}}, "")
	between := 0
	for last := ""; last != fmt.Sprintf("0:%d,1:0", frames); {
		line, err := s.in.ReadString('\n')
		if err != nil {
			t.Fatalf("after %s: %v", last, err)
		}
		id, ok := strings.CutPrefix(strings.TrimSpace(line), "id: ")
		if !ok {
			continue
		}
		at, _, err := parsePosition(id, 2)
		if err != nil {
			t.Fatal(err)
		}
		if last = id; at[0].seq > 0 && at[0].seq < frames {
			between++
		}
	}
	if between == 0 {
		t.Error("on its way through the log the reader said nothing")
	}
}

// TestNoWorkWithoutASeat: whoever finds all places taken has not made NATS look for anything.
func TestNoWorkWithoutASeat(t *testing.T) {
	r := newRig(t, func(_ *rig, c *Config) { c.MaxReaders = 1 })
	first := r.open("/v1/live", url.Values{}, "")
	r.publish(0, "0 a")
	first.want("0 a") // so the tail has a consumer of its own
	asked, err := r.js.Conn().SubscribeSync("$JS.API.CONSUMER.CREATE." + r.inst.Names.StreamEnriched(0) + ".>")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.js.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if s := r.open("/v1/live", url.Values{"since": {"1h"}}, ""); s.res.StatusCode != http.StatusServiceUnavailable {
			t.Fatalf("a reader too many: %d", s.res.StatusCode)
		}
	}
	if err := r.js.Conn().Flush(); err != nil { // what came before it has been heard
		t.Fatal(err)
	}
	if n, _, err := asked.Pending(); err != nil || n > 0 {
		t.Errorf("%d consumers were made for them, %v", n, err)
	}
}

// TestLeaveEnds: once a reader was told that it is over, nothing follows.
func TestLeaveEnds(t *testing.T) {
	w := httptest.NewRecorder()
	rd := &reading{out: newSSE(w, time.Minute)}
	if err := rd.leave("unavailable", "damaged"); !errors.Is(err, errLeft) {
		t.Errorf("the reading would go on: %v", err)
	}
	if !strings.Contains(w.Body.String(), "event: end\n") {
		t.Errorf("%q", w.Body)
	}
	gone := &reading{out: newSSE(nobody{w}, time.Minute)}
	if err := gone.leave("unavailable", "damaged"); !errors.Is(err, errStalled) || errors.Is(err, errLeft) {
		t.Errorf("nobody heard it: %v", err)
	}
}

// nobody takes nothing.
type nobody struct{ http.ResponseWriter }

func (nobody) Write([]byte) (int, error) { return 0, errors.New("gone") }
