package importer

import (
	"bytes"

	"github.com/millrace/millrace/libs/event"
)

// ndjson takes lines that are events already.
type ndjson struct {
	scanner *event.Scanner
	event   event.Event
}

func newNDJSON() *ndjson { return &ndjson{scanner: event.NewScanner(event.DefaultLimits())} }

// convert returns the line's bytes to send. An event without a message id gets
// id as its first member, so that a repetition of it can be known. alone says
// that it cannot be given one and must travel in a request of its own, with id
// as the request's: the door will refuse the line, or its message id is there
// but empty.
func (n *ndjson) convert(line []byte, id string) (event []byte, alone bool) {
	if n.scanner.Scan(line, &n.event) != nil {
		return line, true
	}
	if len(n.event.MessageID) > 0 {
		return line, false
	}
	with := withID(line, id)
	// A second message id would be a duplicate key, and a line at the limit
	// would become too large.
	if n.scanner.Scan(with, &n.event) != nil {
		return line, true
	}
	return with, false
}

// withID inserts the id behind the opening brace of a JSON object with members.
func withID(object []byte, id string) []byte {
	i := bytes.IndexByte(object, '{') + 1
	out := make([]byte, 0, len(object)+len(id)+16)
	out = append(out, object[:i]...)
	out = append(out, `"messageId":"`...)
	out = append(out, id...)
	out = append(out, `",`...)
	return append(out, object[i:]...)
}
