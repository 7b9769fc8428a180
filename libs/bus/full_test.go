package bus

import (
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestAFullStreamIsToldFromOtherFaults(t *testing.T) {
	check := func(want bool, err error) {
		t.Helper()
		if IsFull(err) != want {
			t.Errorf("IsFull(%v) = %v", err, !want)
		}
	}
	check(true, &jetstream.APIError{Code: 503, ErrorCode: codeStoreFailed, Description: "maximum bytes exceeded"})
	check(true, fmt.Errorf("publish: %w", &jetstream.APIError{ErrorCode: codeStoreFailed, Description: "maximum messages exceeded"}))
	check(true, fmt.Errorf("publish: %w", &jetstream.APIError{Code: 503, ErrorCode: codeInsufficientResources}))
	check(true, &jetstream.APIError{ErrorCode: codeAccountStorage})
	check(false, &jetstream.APIError{Code: 503, ErrorCode: codeStoreFailed, Description: "input/output error"})
	check(false, &jetstream.APIError{ErrorCode: codeStoreFailed, Description: "no space left on device"})
	check(false, &jetstream.APIError{Code: 400, ErrorCode: codeWrongLastSequence, Description: "wrong last sequence"})
	check(false, nats.ErrTimeout)
	check(false, errors.New("maximum"))
	check(false, nil)
}

// What the server really says when a stream is full.
func TestAFullStreamOfARealServer(t *testing.T) {
	js := newLeaseRig(t).js()
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "SMALL", Subjects: []string{"small"}, MaxBytes: 4 << 10, Discard: jetstream.DiscardNew,
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 16 {
		if _, err = js.Publish(t.Context(), "small", make([]byte, 1<<10)); err != nil {
			break
		}
	}
	if !IsFull(err) {
		t.Errorf("a full stream says: %v", err)
	}
}
