package compat

import (
	"os/exec"
	"syscall"
)

// dieWith lets a process end with this one, however it ends.
func dieWith(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
