package event

// Kind is the JSON type of a value.
type Kind uint8

// The JSON types.
const (
	KindNull Kind = iota
	KindBool
	KindNumber
	KindString
	KindObject
	KindArray
)

// Field is one key and its value.
type Field struct {
	Key []byte // unescaped
	// Value is the value as text: a string unescaped, a number in its literal
	// spelling, true, false, null, and an object or array as the JSON text that
	// was sent, byte for byte.
	Value []byte
	Num   float64 // the number nearest to Value; only when IsNum
	Kind  Kind
	IsNum bool // Value is a JSON number that is finite as a float64
}

// Time is a point in time of an event.
type Time struct {
	Ms  int64 // milliseconds since 1970-01-01 UTC, between MinTime and MaxTime
	Set bool  // the client sent one
}

// Campaign is context.campaign of the Segment Spec.
type Campaign struct {
	Source, Medium, Name, Term, Content []byte
}

// Event is one event as it was sent, with its known fields found. All slices
// are parts of the scanned bytes or of a buffer that the Event owns: they are
// valid until the next Scan into the same Event and as long as the scanned
// bytes stay unchanged. Empty and nil mean the same: absent.
//
// The zero Event is ready for use; reuse it to avoid allocation.
type Event struct {
	Type        []byte // track, identify, page, screen, group or alias
	Name        []byte // the field event; of a page or screen without one, its name
	MessageID   []byte
	UserID      []byte
	AnonymousID []byte
	PreviousID  []byte
	GroupID     []byte
	// SessionID is the field sessionId, else properties.$session_id, else
	// context.sessionId.
	SessionID []byte

	Timestamp         Time
	OriginalTimestamp Time
	SentAt            Time

	Properties []Field
	Traits     []Field
	Context    []Field // the keys of context that no field below holds whole
	Extra      []Field // top-level fields that the Segment Spec does not name

	// From context.page; of a page event, what is missing there is taken from
	// properties, where the Segment Spec has it too.
	PageURL      []byte
	PagePath     []byte
	PageReferrer []byte
	PageSearch   []byte
	PageTitle    []byte

	// From context.
	UserAgent []byte
	IP        []byte
	Locale    []byte
	Campaign  Campaign

	text []byte // unescaped strings; never longer than the scanned bytes
}

// User is whose event it is: the user id, else the anonymous id.
func (e *Event) User() []byte {
	if len(e.UserID) > 0 {
		return e.UserID
	}
	return e.AnonymousID
}

func (e *Event) reset() {
	*e = Event{
		Properties: e.Properties[:0],
		Traits:     e.Traits[:0],
		Context:    e.Context[:0],
		Extra:      e.Extra[:0],
		text:       e.text[:0],
	}
}
