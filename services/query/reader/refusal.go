package reader

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/millrace/millrace/services/query/problem"
)

// Problem gives every error of a question the status that fits. One that is a problem already stays what it is.
func Problem(err error) *problem.Problem {
	var p *problem.Problem
	var ex *Exception
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &ex):
		return ex.problem()
	case errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, ErrUnavailable):
		return problem.New(http.StatusGatewayTimeout, problem.Timeout, err.Error()).Instead(insteadCost)
	case errors.Is(err, ErrCut):
		return problem.New(http.StatusBadGateway, problem.Unavailable, err.Error())
	}
	return problem.New(http.StatusServiceUnavailable, problem.Unavailable, err.Error())
}

// problem keeps ClickHouse's words and gives them a status. ClickHouse answers most refusals with 500 and unknown names
// with 404, which HTTP clients take for something else.
func (e *Exception) problem() *problem.Problem {
	status, k := http.StatusInternalServerError, problem.Internal
	switch e.Code {
	case 164, // READONLY
		344, // SUPPORT_IS_DISABLED
		358, // INTO_OUTFILE_NOT_ALLOWED
		446, // FUNCTION_NOT_ALLOWED
		452, // SETTING_CONSTRAINT_VIOLATION
		482, // DATABASE_ACCESS_DENIED
		497, // ACCESS_DENIED
		701: // CLUSTER_DOESNT_EXIST
		status, k = http.StatusForbidden, problem.Forbidden
	case 158, // TOO_MANY_ROWS
		161, // TOO_MANY_COLUMNS
		162, // TOO_DEEP_SUBQUERIES
		167, // TOO_DEEP_AST
		168, // TOO_BIG_AST
		191, // SET_SIZE_LIMIT_EXCEEDED
		306, // TOO_DEEP_RECURSION
		307, // TOO_MANY_BYTES
		396: // TOO_MANY_ROWS_OR_BYTES
		status, k = http.StatusUnprocessableEntity, problem.Limit
	case 159, // TIMEOUT_EXCEEDED
		160: // TOO_SLOW, also of sleep()
		status, k = http.StatusGatewayTimeout, problem.Timeout
		if strings.Contains(e.Message, "sleep time") {
			status, k = http.StatusForbidden, problem.Forbidden
		}
	case 241: // MEMORY_LIMIT_EXCEEDED
		// The query's own limit will not move; the server's fill will.
		status, k = http.StatusServiceUnavailable, problem.Busy
		if strings.Contains(e.Message, "Query memory limit") || strings.Contains(e.Message, "(for query)") {
			status, k = http.StatusUnprocessableEntity, problem.Limit
		}
	case 216: // QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING
		status, k = http.StatusConflict, problem.Conflict
	case 201: // QUOTA_EXCEEDED
		status, k = http.StatusTooManyRequests, problem.Busy
	case 202, // TOO_MANY_SIMULTANEOUS_QUERIES
		243, // NOT_ENOUGH_SPACE for what a question puts on disk
		745: // SERVER_OVERLOADED
		status, k = http.StatusServiceUnavailable, problem.Busy
	case 192, // UNKNOWN_USER
		193, // WRONG_PASSWORD
		194, // REQUIRED_PASSWORD
		195, // IP_ADDRESS_NOT_ALLOWED
		516: // AUTHENTICATION_FAILED: our own login is wrong, not the client
		status, k = http.StatusInternalServerError, problem.Internal
	case 6, 26, 27, 32, 36, 38, 41, 42, 43, 46, 47, 48, 53, 60, 62, 69, 70, 72, 73, 81, 115, 117, 128, 131, 139, 141, 153, 156,
		179, 180, 181, 184, 190, 207, 215, 349, 386, 395, 399, 407, 427, 456, 457, 474, 477, 546, 636, 691, 727, 1000:
		// What is wrong is in the SQL or in its parameters: syntax, names, types, arguments, values.
		status, k = http.StatusBadRequest, problem.Invalid
	case 49: // LOGICAL_ERROR, a fault of ClickHouse's: merge() over several tables with row policies
		if e.manyTables() {
			status, k = http.StatusBadRequest, problem.Invalid
		}
	default:
		// ClickHouse's own choice tells the asker's fault from its own for the hundreds of other codes.
		if e.Status >= 400 && e.Status < 500 {
			status, k = http.StatusBadRequest, problem.Invalid
		}
	}
	p := problem.New(status, k, strings.TrimSpace(e.Message)).Instead(e.instead())
	p.ClickHouseCode, p.QueryID = e.Code, e.QueryID
	return p
}
