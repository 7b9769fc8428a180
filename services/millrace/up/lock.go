package up

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrRunning says that another installation runs in the directory.
var ErrRunning = errors.New("another `millrace up` runs in this directory")

// dirLock keeps a directory to one process. It ends with the process, however
// that ends; it is not inherited by children.
type dirLock struct {
	file *os.File
	// unclean: the last holder did not get to let go. Its ClickHouse child may
	// need a moment to end.
	unclean bool
}

// lockPatience is how long a start waits for a process that was just killed:
// the system takes a moment to take it apart.
const lockPatience = 3 * time.Second

func lockDir(ctx context.Context, dir string, say *narrator) (*dirLock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("--dir: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("--dir: %w", err)
	}
	l := &dirLock{file: f}
	if err := l.acquire(ctx, dir, say); err != nil {
		_ = f.Close() // what went wrong is reported already
		return nil, err
	}
	l.unclean = l.holder() != ""
	if err := l.write(strconv.Itoa(os.Getpid()) + "\n"); err != nil {
		_ = f.Close() // what went wrong is reported already
		return nil, err
	}
	return l, nil
}

func (l *dirLock) acquire(ctx context.Context, dir string, say *narrator) error {
	deadline := time.Now().Add(lockPatience)
	for said := false; ; {
		err := syscall.Flock(int(l.file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR):
			return fmt.Errorf("lock %s: %w", dir, err)
		case time.Now().After(deadline):
			return fmt.Errorf("%w: %s is held by process %s; stop that one (Ctrl-C, or kill %[3]s), or choose another --dir",
				ErrRunning, dir, l.holder())
		}
		if !said {
			said = true
			say.step("the directory is held by process " + l.holder() + "; waiting a moment in case that one is ending")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(25 * time.Millisecond):
		}
	}
}

// holder is the process id in the file, "" after a clean end.
func (l *dirLock) holder() string {
	buf := make([]byte, 32)
	n, _ := l.file.ReadAt(buf, 0) // only words depend on it
	return strings.TrimSpace(string(buf[:n]))
}

func (l *dirLock) write(text string) error {
	if err := l.file.Truncate(0); err != nil {
		return fmt.Errorf("write %s: %w", l.file.Name(), err)
	}
	if _, err := l.file.WriteAt([]byte(text), 0); err != nil {
		return fmt.Errorf("write %s: %w", l.file.Name(), err)
	}
	return nil
}

// release says that this end is a clean one.
func (l *dirLock) release() error {
	return errors.Join(l.write(""), l.file.Close())
}
