//go:build !linux

package localdb

import "syscall"

func binaryAttributes() *syscall.SysProcAttr { return nil }

// selfPath is asked of the system.
const selfPath = ""
