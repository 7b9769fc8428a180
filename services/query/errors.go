package query

import "errors"

var (
	// ErrUnavailable says that NATS or ClickHouse did not answer: ask again later.
	ErrUnavailable = errors.New("not reachable now")
	// ErrCut says that a result ended before it was whole. ClickHouse had begun to answer and then failed.
	ErrCut = errors.New("the result was cut short")
	// ErrNotYet says that rows of a receipt were not in ClickHouse when the time to wait was over.
	ErrNotYet = errors.New("not all rows of the receipt are in yet")
	// ErrReceipt says that the text of a receipt cannot be read.
	ErrReceipt = errors.New("bad receipt")
)
