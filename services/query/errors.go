package query

import (
	"errors"
	"net/http"

	"github.com/millrace/millrace/services/query/problem"
	"github.com/millrace/millrace/services/query/reader"
)

var (
	// ErrUnavailable says that NATS or ClickHouse did not answer: ask again later.
	ErrUnavailable = reader.ErrUnavailable
	// ErrCut says that a result ended before it was whole. ClickHouse had begun to answer and then failed.
	ErrCut = reader.ErrCut
	// ErrNotYet says that rows of a receipt were not in ClickHouse when the time to wait was over.
	ErrNotYet = errors.New("not all rows of the receipt are in yet")
	// ErrReceipt says that the text of a receipt cannot be read.
	ErrReceipt = errors.New("bad receipt")
)

// Exception is an answer of ClickHouse that refuses a question.
type Exception = reader.Exception

// asProblem gives every error the status that fits.
func asProblem(err error) *problem.Problem {
	if errors.Is(err, ErrReceipt) {
		return problem.New(http.StatusBadRequest, problem.BadRequest, err.Error())
	}
	return reader.Problem(err)
}
