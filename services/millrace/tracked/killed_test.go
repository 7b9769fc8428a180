package tracked

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/millrace/millrace/libs/localdb"
	"github.com/millrace/millrace/libs/testkit"
	"github.com/millrace/millrace/libs/track"
)

// asPublisher makes the test binary a program that sends events until it is killed, to the server that its value names.
const asPublisher = "TRACKED_PUBLISHER"

func TestMain(m *testing.M) {
	if url := os.Getenv(asPublisher); url != "" {
		fmt.Fprintln(os.Stderr, publish(url))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// publish sends events for ever, and says of each when it is acknowledged.
func publish(url string) error {
	nc, err := nats.Connect(url, nats.MaxReconnects(-1))
	if err != nil {
		return err
	}
	c, err := track.New(nc, shop, track.OnError(func(event []byte, err error) { fmt.Printf("reported %s %v\n", event, err) }))
	if err != nil {
		return err
	}
	ctx := context.Background()
	for i := 0; ; i++ {
		f := c.Submit(ctx, track.Track{UserID: fmt.Sprint("u", i%50), Event: "seen"})
		go func() {
			if r, err := f.Wait(ctx); err == nil {
				fmt.Printf("stored %s\n", r.MessageID) // one write a line
			}
		}()
		if i%10 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

// TestThePublisherIsKilled kills it in the middle, three times: what was acknowledged is there, once.
func TestThePublisherIsKilled(t *testing.T) {
	m := newMill(t)
	self, err := os.Executable()
	m.must(err)
	stored := map[string]bool{}
	for life := range 3 {
		cmd := exec.CommandContext(t.Context(), self)
		cmd.Env = append(os.Environ(), asPublisher+"="+m.nats.URL)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		m.must(err)
		m.must(cmd.Start())
		var kill sync.Once
		for lines := bufio.NewScanner(out); lines.Scan(); {
			id, ok := strings.CutPrefix(lines.Text(), "stored ")
			if ok && len(id) == 36 { // the last line may be cut
				stored[id] = true
			} else if strings.HasPrefix(lines.Text(), "reported ") {
				t.Error(lines.Text())
			}
			if len(stored) > 1000*(life+1) {
				kill.Do(func() { m.must(cmd.Process.Kill()) })
			}
		}
		_ = cmd.Wait() // it was killed
	}
	var missing []string
	testkit.Eventually(t, "what was acknowledged is in ClickHouse", func() bool {
		missing = nil
		there := m.ids()
		for id := range stored {
			if there[id] == 0 {
				missing = append(missing, id)
			}
		}
		return len(missing) == 0
	})
	for id, n := range m.ids() {
		if n != 1 {
			t.Errorf("event %s is there %d times", id, n)
		}
	}
	t.Logf("%d acknowledged, %d stored", len(stored), len(m.ids()))
}

// ids is how often each event is in ClickHouse.
func (m *mill) ids() map[string]uint64 {
	m.Helper()
	rows, err := m.db.Open(localdb.ReaderUser).Query(m.Context(), "SELECT event_id, count() FROM events GROUP BY event_id")
	m.must(err)
	defer rows.Close()
	all := map[string]uint64{}
	for rows.Next() {
		var id string
		var n uint64
		m.must(rows.Scan(&id, &n))
		all[id] = n
	}
	m.must(rows.Err())
	return all
}
