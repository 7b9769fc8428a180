//go:build !failpoint

package failpoint

import "time"

// At does nothing.
func At(Name) {}

// Error is nil.
func Error(Name) error { return nil }

// Now is time.Now.
func Now() time.Time { return time.Now() }

// Since is time.Since.
func Since(t time.Time) time.Duration { return time.Since(t) }

// Until is time.Until.
func Until(t time.Time) time.Duration { return time.Until(t) }
