package localdb

import "syscall"

// binaryAttributes ends the binary politely even when its keeper is killed with kill -9.
func binaryAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
}

// selfPath names the running program, also after its file was replaced by a newer build.
const selfPath = "/proc/self/exe"
