package event

import (
	"errors"
	"fmt"
)

// Errors of a whole request. Nothing of such a request is handed out.
var (
	// ErrTooLarge: the body is over Limits.MaxRequest, as it came or after
	// decompression. A door answers 413.
	ErrTooLarge = errors.New("body is larger than the request limit")
	// ErrTooManyEvents: the body holds more than Limits.MaxEvents events.
	// A door answers 413.
	ErrTooManyEvents = errors.New("body holds more events than the request limit")
	// ErrEncoding: the content encoding is none of identity, gzip, deflate, zstd.
	// A door answers 415.
	ErrEncoding = errors.New("content encoding is not supported: send identity, gzip, deflate or zstd")
	// ErrDecompression: the body is not what its content encoding says.
	// A door answers 400.
	ErrDecompression = errors.New("body cannot be decompressed")
)

// SyntaxError says where a body stops being readable. A door answers 400.
type SyntaxError struct {
	Offset int    // bytes before the fault, from the start of the body
	Line   int    // line of the fault, from 1
	Msg    string // what was found; never quotes the body
}

// Error implements error.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("body cannot be read: %s at byte %d (line %d)", e.Msg, e.Offset, e.Line)
}
