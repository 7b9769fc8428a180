package bus

import (
	"errors"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// Codes of JetStream's API errors (nats-server, server/errors.json). 10077 is
// given for every fault of the store; its text tells a full stream from a disk
// error.
const (
	codeStoreFailed           jetstream.ErrorCode = 10077
	codeInsufficientResources jetstream.ErrorCode = 10047
	codeAccountStorage        jetstream.ErrorCode = 10002
)

// IsFull says whether JetStream refused a publish because the stream, the
// account or the server has no room; other faults of the store are not meant.
func IsFull(err error) bool {
	api, ok := errors.AsType[jetstream.JetStreamError](err)
	if !ok || api.APIError() == nil {
		return false
	}
	switch api.APIError().ErrorCode {
	case codeStoreFailed:
		return strings.Contains(api.APIError().Description, "maximum")
	case codeInsufficientResources, codeAccountStorage:
		return true
	}
	return false
}
