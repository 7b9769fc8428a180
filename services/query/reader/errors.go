package reader

import "errors"

var (
	// ErrUnavailable says that NATS or ClickHouse did not answer: ask again later.
	ErrUnavailable = errors.New("not reachable now")
	// ErrCut says that a result ended before it was whole. ClickHouse had begun to answer and then failed.
	ErrCut = errors.New("the result was cut short")
)
