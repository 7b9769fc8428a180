//go:build !linux

package main

import (
	"errors"
	"time"
)

// pin needs Linux.
func pin(int) (restore func(), err error) {
	return nil, errors.New("only Linux keeps a process on some processors")
}

func sleep(d time.Duration) { time.Sleep(d) }
