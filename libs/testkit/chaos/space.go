package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

// The lab keeps the streams and the tables on small file systems of its own,
// which can be filled without harm to the machine. They are mounted where only
// the lab and its children see them, so it starts itself again in a mount
// namespace; as root, or in a user namespace where the system allows one.
const envSpace = "CHAOS_SPACE"

// diskSize of each of the two small file systems. They are memory, taken as it
// is used.
const diskSize = "3g"

// inSpace runs this program again in a namespace of its own. done is false
// where that cannot be, with the reason; then disks cannot be filled, and all
// else goes on.
func inSpace(ctx context.Context, args []string) (done bool, why, err error) {
	if os.Getenv(envSpace) != "" {
		return false, nil, nil
	}
	self, err := os.Executable()
	if err != nil {
		return false, err, nil
	}
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if uid := os.Getuid(); uid != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	probe := exec.Command("/bin/true")
	probe.SysProcAttr = attr
	if err := probe.Run(); err != nil {
		return false, fmt.Errorf("a mount namespace: %w", err), nil
	}
	// A group of its own: what a terminal sends to all reaches it through this
	// process, once.
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), envSpace+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = attr
	if err := cmd.Start(); err != nil {
		return false, err, nil
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	return true, nil, cmd.Wait()
}

// mount puts a small file system at dir, inside the namespace.
func mount(dir string) error {
	if os.Getenv(envSpace) == "" {
		return errors.New("the lab has no mount namespace")
	}
	if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+diskSize); err != nil {
		return fmt.Errorf("mount a small disk at %s: %w", dir, err)
	}
	return nil
}

// fill leaves nothing of the disk at dir: its size is what it holds. No memory
// is taken for that. One of size 0 would have no end.
func fill(dir string) error {
	var err error
	for range 20 { // more may have been written meanwhile
		var fs syscall.Statfs_t
		if err := syscall.Statfs(dir, &fs); err != nil {
			return err
		}
		if err = resizeDisk(dir, strconv.FormatInt(max(int64(fs.Blocks-fs.Bfree)*fs.Bsize, fs.Bsize), 10)); err == nil {
			return nil
		}
	}
	return err
}

// free gives a disk its size back.
func free(dir string) error { return resizeDisk(dir, diskSize) }

func resizeDisk(dir, size string) error {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size="+size); err != nil {
		return fmt.Errorf("make the small disk at %s one of %s: %w", dir, size, err)
	}
	return nil
}
