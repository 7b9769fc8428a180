package cli

import (
	"context"
	"errors"
	"net/http"

	"github.com/millrace/millrace/services/millrace/client"
)

// Exit codes, for scripts. The root command's help lists them.
const (
	exitOK          = 0
	exitFailed      = 1 // it was done and the answer is no
	exitUsage       = 2 // the command line or the settings cannot be used
	exitUnreachable = 3 // nothing answers, or it does not now
	exitNotYet      = 4 // time was over before it was finished
)

// errFailed ends a command that has said everything already.
var errFailed = errors.New("failed")

// usageError is a wrong command line.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func exitCode(err error) int {
	var usage usageError
	var status *client.StatusError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, client.ErrNotYet):
		return exitNotYet
	case errors.Is(err, client.ErrUnreachable):
		return exitUnreachable
	case errors.As(err, &status):
		switch status.Status {
		case http.StatusGatewayTimeout:
			return exitNotYet
		case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable:
			return exitUnreachable
		}
	case errors.Is(err, context.DeadlineExceeded):
		return exitNotYet
	}
	return exitFailed
}
