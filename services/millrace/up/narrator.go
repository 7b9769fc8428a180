package up

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// narrator tells people what is going on, one line a step.
type narrator struct {
	mu  sync.Mutex // one line at a time: NATS and ClickHouse start together
	out io.Writer
}

func newNarrator(out io.Writer) *narrator { return &narrator{out: out} }

func (n *narrator) line(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	fmt.Fprintln(n.out, text) // a closed terminal is no reason to stop
}

func (n *narrator) title(dir string) { n.line("millrace: starting in " + dir) }

func (n *narrator) step(text string) { n.line("  " + text) }

// timed does one thing and says what came of it and how long it took.
func (n *narrator) timed(what string, do func() (string, error)) error {
	n.step(fmt.Sprintf("%-11s ...", what))
	began := time.Now()
	result, err := do()
	if err != nil {
		return err
	}
	n.step(fmt.Sprintf("%-11s %5s  %s", what, seconds(time.Since(began)), result))
	return nil
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }
