//go:build failpoint

package points

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/libs/testkit"
)

// The clock is set forward, back, and to and fro, under load and while owners
// die: nothing is lost or doubled, and nothing waits for the clock to catch up.
func TestFailpointClockThatIsSetStallsNothing(t *testing.T) {
	m := newMill(t, true)
	for i, offsets := range [][]time.Duration{
		{time.Hour},
		{-time.Hour},
		{0, time.Hour, -time.Hour, time.Hour, -time.Hour, time.Hour, 0},
	} {
		t.Run(fmt.Sprint(offsets), func(t *testing.T) {
			m.set(t, 0)
			twins := map[string]*process{}
			for _, name := range []string{"enricher", "indexer"} {
				twins[name] = m.start(t, name)
			}
			t.Cleanup(func() {
				for name, p := range twins {
					if t.Failed() {
						m.on[name].tell(t)
						p.tell(t)
					}
					p.signal(syscall.SIGKILL)
				}
			})
			before := newLoad(fmt.Sprintf("c%da-", i), refused)
			if err := before.run(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			m.exact(t, before)
			during := newLoad(fmt.Sprintf("c%db-", i), refused)
			during.overHTTP = 20
			during.rows, during.dead = (20+2)*perRequest*4/5, (20+2)*perRequest/5
			sent := make(chan error, 1)
			go func() { sent <- during.run(t.Context(), m) }() // ends after its own timeout
			for _, offset := range offsets {
				// The file is read again every 50 ms; frames and blocks are open for
				// longer, so that the clock is set while some are.
				time.Sleep(200 * time.Millisecond)
				m.set(t, offset)
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
			m.exact(t, during)
			// Owners die as well.
			for name, twin := range twins {
				m.on[name].signal(syscall.SIGKILL)
				testkit.Eventually(t, "the owner is dead", m.on[name].killed)
				m.on[name], twins[name] = twin, m.on[name]
			}
			after := newLoad(fmt.Sprintf("c%dc-", i), refused)
			if err := after.run(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			m.exact(t, after)
		})
	}
}
