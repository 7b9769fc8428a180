package svc

import "errors"

var (
	// ErrUnknownKey is in the error of Load when the environment or the file
	// names a setting that no flag has.
	ErrUnknownKey = errors.New("unknown setting")

	// ErrPrintConfig is what Load returns when --print-config was given and
	// everything could be read. The caller writes WriteConfig and ends with 0.
	ErrPrintConfig = errors.New("the configuration was asked for, not a run")

	// ErrEarlyReturn is in the error of Run when a service returned without an
	// error although nobody had told it to stop.
	ErrEarlyReturn = errors.New("returned without being told to stop")

	// ErrDrainTimeout is in the error of Run when a service had not drained
	// when the time for it was over.
	ErrDrainTimeout = errors.New("not drained in time")
)
