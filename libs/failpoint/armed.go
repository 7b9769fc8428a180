//go:build failpoint

package failpoint

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

// ErrInjected is what [Error] returns at an armed point.
var ErrInjected = errors.New("failpoint: the step was made to fail")

// The variables are taken out of the environment: services refuse what they do
// not know, and a child of a process is not armed.
const (
	envPoints = "MILLRACE_FAILPOINTS"
	envClock  = "MILLRACE_CLOCK_FILE"
)

var (
	points map[Name]*armed                      // as they were at the start
	shift  atomic.Pointer[func() time.Duration] // nil: the real clock
)

// armed is a point that does something at one passage.
type armed struct {
	name Name
	left atomic.Int64 // passages until then
	do   func() error
}

func init() {
	var err error
	if points, err = parse(os.Getenv(envPoints)); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", envPoints, err)
		os.Exit(2)
	}
	if path := os.Getenv(envClock); path != "" {
		f := clockFile{path: path}
		if err := f.read(); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", envClock, err)
			os.Exit(2)
		}
		offset := f.offset
		shift.Store(&offset)
	}
	_ = os.Unsetenv(envPoints) // both names are well formed
	_ = os.Unsetenv(envClock)
}

// At is passed by the code at a point. What the action error does it cannot do.
func At(name Name) { _ = Error(name) }

// Error is passed by the code at a point where it can be told of a failure.
func Error(name Name) error {
	a := points[name]
	if a == nil || a.left.Add(-1) != 0 {
		return nil
	}
	return a.do()
}

// tell writes what a point does, for whoever watches the process.
func (a *armed) tell(action string) { fmt.Fprintf(os.Stderr, "failpoint %s: %s\n", a.name, action) }

func (a *armed) kill() error {
	a.tell("kill")
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL) // a process may kill itself
	select {}
}

func (a *armed) stop() error {
	a.tell("stop")
	// The signal may be given to another thread, which may not come to run for a
	// while. This one must not go on before somebody has let all go on.
	goOn := make(chan os.Signal, 1)
	signal.Notify(goOn, syscall.SIGCONT)
	defer signal.Stop(goOn)
	_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP) // a process may stop itself
	<-goOn
	return nil
}

func (a *armed) fail() error {
	a.tell("error")
	return fmt.Errorf("%w: %s", ErrInjected, a.name)
}
