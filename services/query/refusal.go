package query

import (
	"context"
	"errors"
	"net/http"
	"strings"
)

// asProblem gives every error the status that fits.
func asProblem(err error) *problem {
	var p *problem
	var ex *Exception
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &ex):
		return ex.problem()
	case errors.Is(err, ErrReceipt):
		return newProblem(http.StatusBadRequest, kindBadRequest, err.Error())
	case errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, ErrUnavailable):
		return newProblem(http.StatusGatewayTimeout, kindTimeout, err.Error())
	case errors.Is(err, ErrCut):
		return newProblem(http.StatusBadGateway, kindUnavailable, err.Error())
	}
	return newProblem(http.StatusServiceUnavailable, kindUnavailable, err.Error())
}

// problem keeps ClickHouse's words and gives them a status. ClickHouse answers most refusals with 500 and unknown names
// with 404, which HTTP clients take for something else.
func (e *Exception) problem() *problem {
	status, k := http.StatusInternalServerError, kindInternal
	switch e.Code {
	case 164, // READONLY
		344, // SUPPORT_IS_DISABLED
		358, // INTO_OUTFILE_NOT_ALLOWED
		446, // FUNCTION_NOT_ALLOWED
		452, // SETTING_CONSTRAINT_VIOLATION
		482, // DATABASE_ACCESS_DENIED
		497, // ACCESS_DENIED
		701: // CLUSTER_DOESNT_EXIST
		status, k = http.StatusForbidden, kindForbidden
	case 158, // TOO_MANY_ROWS
		161, // TOO_MANY_COLUMNS
		162, // TOO_DEEP_SUBQUERIES
		167, // TOO_DEEP_AST
		168, // TOO_BIG_AST
		191, // SET_SIZE_LIMIT_EXCEEDED
		306, // TOO_DEEP_RECURSION
		307, // TOO_MANY_BYTES
		396: // TOO_MANY_ROWS_OR_BYTES
		status, k = http.StatusUnprocessableEntity, kindLimit
	case 159, // TIMEOUT_EXCEEDED
		160: // TOO_SLOW
		status, k = http.StatusGatewayTimeout, kindTimeout
	case 241: // MEMORY_LIMIT_EXCEEDED
		// The query's own limit will not move; the server's fill will.
		status, k = http.StatusServiceUnavailable, kindBusy
		if strings.Contains(e.Message, "Query memory limit") || strings.Contains(e.Message, "(for query)") {
			status, k = http.StatusUnprocessableEntity, kindLimit
		}
	case 201: // QUOTA_EXCEEDED
		status, k = http.StatusTooManyRequests, kindBusy
	case 202, // TOO_MANY_SIMULTANEOUS_QUERIES
		745: // SERVER_OVERLOADED
		status, k = http.StatusServiceUnavailable, kindBusy
	case 192, // UNKNOWN_USER
		193, // WRONG_PASSWORD
		194, // REQUIRED_PASSWORD
		195, // IP_ADDRESS_NOT_ALLOWED
		516: // AUTHENTICATION_FAILED: our own login is wrong, not the client
		status, k = http.StatusInternalServerError, kindInternal
	case 6, 26, 27, 36, 38, 41, 42, 43, 46, 47, 48, 53, 60, 62, 69, 70, 72, 73, 81, 115, 117, 128, 131, 153, 179, 184, 190,
		207, 215, 349, 386, 395, 407, 427, 456, 457, 477, 636, 727:
		// What is wrong is in the SQL or in its parameters: syntax, names, types, arguments, values.
		status, k = http.StatusBadRequest, kindInvalid
	default:
		// ClickHouse's own choice tells the asker's fault from its own for the hundreds of other codes.
		if e.Status >= 400 && e.Status < 500 {
			status, k = http.StatusBadRequest, kindInvalid
		}
	}
	p := newProblem(status, k, strings.TrimSpace(e.Message))
	p.ClickHouseCode, p.QueryID = e.Code, e.QueryID
	return p
}
