package eventdb

import "errors"

var (
	// ErrSchema says that the tables do not fit this version of Millrace. `millrace migrate` mends what migrations can.
	ErrSchema = errors.New("table events does not fit this version")
	// ErrURL says that the address of ClickHouse cannot be used.
	ErrURL = errors.New("bad ClickHouse URL")
)
