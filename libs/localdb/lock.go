package localdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// lockPatience is how long a start waits for the engine of a parent that was just killed: it ends cleanly by itself,
// usually within 50 ms, after 5 s while somebody else keeps a connection to it open (a limit inside libchdb).
const lockPatience = 8 * time.Second

// lockDir locks the directory. The lock belongs to the open file, which the child inherits: it is held until the last
// process that has it open is gone.
func lockDir(ctx context.Context, l layout, patience time.Duration) (*os.File, error) {
	f, err := os.OpenFile(l.lock, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of the local ClickHouse: %w", err)
	}
	deadline := time.Now().Add(patience)
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", l.lock, err)
		}
		if time.Now().After(deadline) {
			_ = f.Close()
			return nil, fmt.Errorf("%w: %s; stop the other one or choose another directory", ErrInUse, l.dir)
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("wait for the lock of %s: %w", l.dir, ctx.Err())
		case <-time.After(25 * time.Millisecond):
		}
	}
}
