package event

import "slices"

// Reason says why an event was refused. The set is closed and the codes are
// part of the contract: they are tokens of the dead letters' subjects, values
// of metric labels and of a column, and clients match on them. A code is never
// renamed and never given a second meaning.
type Reason string

// Reasons that the event's own bytes give.
const (
	ReasonMalformed    Reason = "malformed"     // not JSON; also a NATS message that cannot be split into events
	ReasonNotAnObject  Reason = "not_an_object" // JSON, but null, a list, a string, a number
	ReasonTooLarge     Reason = "too_large"     // over Limits.MaxEvent, or too large for a frame
	ReasonTooDeep      Reason = "too_deep"      // over Limits.MaxDepth
	ReasonTooManyKeys  Reason = "too_many_keys" // over Limits.MaxKeys
	ReasonKeyTooLong   Reason = "key_too_long"  // over Limits.MaxKey
	ReasonInvalidUTF8  Reason = "invalid_utf8"  // bytes that are not UTF-8, or half a surrogate pair
	ReasonDuplicateKey Reason = "duplicate_key" // a key, or a field in both its spellings, occurs twice
	ReasonNoUser       Reason = "no_user"       // neither userId nor anonymousId
	ReasonNoEvent      Reason = "no_event"      // type track without a name
	ReasonBadType      Reason = "bad_type"      // type is not one of the Segment Spec's
	ReasonBadField     Reason = "bad_field"     // a known field has the wrong JSON type
	ReasonBadTimestamp Reason = "bad_timestamp" // not a time, or outside 1900 to 2299
	ReasonIDTooLong    Reason = "id_too_long"   // over Limits.MaxID
	ReasonNameTooLong  Reason = "name_too_long" // over Limits.MaxName
)

// Reasons that arise on the way.
const (
	ReasonDecompression Reason = "decompression"   // a message's compressed body cannot be read
	ReasonTooManyEvents Reason = "too_many_events" // a NATS message holds more than Limits.MaxEvents
	ReasonUndecodable   Reason = "undecodable"     // a frame that its own codec cannot read
	ReasonPanic         Reason = "panic"           // reading or enriching the event panicked
	ReasonCrash         Reason = "crash"           // the event made a process die; found in isolation
	ReasonRowRefused    Reason = "row_refused"     // ClickHouse refused the row for its content
	ReasonDeclared      Reason = "declared"        // the client declared the bytes refused (import: lines that do not parse)
	ReasonNotAllowed    Reason = "not_allowed"     // its source may not send it: its allow list has neither type nor name, or it is disabled
)

// Reasons returns every reason, sorted.
func Reasons() []Reason {
	all := []Reason{
		ReasonMalformed, ReasonNotAnObject, ReasonTooLarge, ReasonTooDeep,
		ReasonTooManyKeys, ReasonKeyTooLong, ReasonInvalidUTF8,
		ReasonDuplicateKey, ReasonNoUser, ReasonNoEvent, ReasonBadType,
		ReasonBadField, ReasonBadTimestamp, ReasonIDTooLong, ReasonNameTooLong,
		ReasonDecompression, ReasonTooManyEvents,
		ReasonUndecodable, ReasonPanic, ReasonCrash, ReasonRowRefused, ReasonDeclared, ReasonNotAllowed,
	}
	slices.Sort(all)
	return all
}

// Valid reports whether r is of the closed set.
func (r Reason) Valid() bool {
	_, found := slices.BinarySearch(Reasons(), r)
	return found
}

// Refusal is why one event was refused. It is an error, but one of the event,
// never of the request that carried it.
type Refusal struct {
	Reason Reason
	// Detail is for people: what was found and at which byte of the event.
	// It never quotes the event, so that it may be logged and put in a header.
	Detail string
}

// Error implements error.
func (r *Refusal) Error() string {
	if r.Detail == "" {
		return string(r.Reason)
	}
	return string(r.Reason) + ": " + r.Detail
}
