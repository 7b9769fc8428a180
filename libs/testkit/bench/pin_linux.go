package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pin keeps this process, and what it starts, on the first n of its
// processors. The returned function takes that back.
func pin(n int) (restore func(), err error) {
	var had, want unix.CPUSet
	if err := unix.SchedGetaffinity(0, &had); err != nil {
		return nil, fmt.Errorf("processors of this process: %w", err)
	}
	for cpu := 0; want.Count() < n; cpu++ {
		if cpu == 64*len(had) {
			return nil, fmt.Errorf("this process may use %d processors, not %d", had.Count(), n)
		}
		if had.IsSet(cpu) {
			want.Set(cpu)
		}
	}
	apply := func(set *unix.CPUSet) error {
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		for _, t := range threads {
			id, err := strconv.Atoi(t.Name())
			if err != nil {
				return err
			}
			if err := unix.SchedSetaffinity(id, set); err != nil && err != unix.ESRCH {
				return err
			}
		}
		return nil
	}
	if err := apply(&want); err != nil {
		return nil, fmt.Errorf("use %d processors: %w", n, err)
	}
	before := runtime.GOMAXPROCS(n)
	return func() {
		runtime.GOMAXPROCS(before)
		_ = apply(&had) // it was so before
	}, nil
}

// sleep is more exact than time.Sleep, which may sleep a millisecond longer:
// five times the distance between two events.
func sleep(d time.Duration) {
	ts := syscall.NsecToTimespec(d.Nanoseconds())
	_ = syscall.Nanosleep(&ts, nil) // a signal cuts it short; the caller looks at the clock
}
