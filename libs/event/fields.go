package event

// field names a top-level field of an event that has a meaning of its own.
type field uint8

const (
	fieldExtra field = iota // none: kept in Extra
	fieldType
	fieldEvent
	fieldName // of a page or screen; otherwise extra
	fieldTimestamp
	fieldOriginalTimestamp
	fieldSentAt
	fieldProperties
	fieldTraits
	fieldContext
	fieldWriteKey
	// The ids come last, so that one comparison tells them.
	fieldMessageID
	fieldUserID
	fieldAnonymousID
	fieldPreviousID
	fieldGroupID
	fieldSessionID
)

// fieldOf knows both spellings: that of the Segment Spec and the plain one.
func fieldOf(key []byte) field {
	switch string(key) {
	case "type":
		return fieldType
	case "event", "event_type":
		return fieldEvent
	case "name":
		return fieldName
	case "timestamp":
		return fieldTimestamp
	case "originalTimestamp", "original_timestamp":
		return fieldOriginalTimestamp
	case "sentAt", "sent_at":
		return fieldSentAt
	case "properties", "event_data":
		return fieldProperties
	case "traits":
		return fieldTraits
	case "context":
		return fieldContext
	case "writeKey", "write_key":
		return fieldWriteKey
	case "messageId", "message_id":
		return fieldMessageID
	case "userId", "user_id":
		return fieldUserID
	case "anonymousId", "anonymous_id":
		return fieldAnonymousID
	case "previousId", "previous_id":
		return fieldPreviousID
	case "groupId", "group_id":
		return fieldGroupID
	case "sessionId", "session_id":
		return fieldSessionID
	}
	return fieldExtra
}

// knownType reports whether t is a call of the Segment Spec.
func knownType(t []byte) bool {
	switch string(t) {
	case "track", "identify", "page", "screen", "group", "alias":
		return true
	}
	return false
}

// id returns where the text of an id field belongs.
func (e *Event) id(f field) *[]byte {
	switch f {
	case fieldMessageID:
		return &e.MessageID
	case fieldUserID:
		return &e.UserID
	case fieldAnonymousID:
		return &e.AnonymousID
	case fieldPreviousID:
		return &e.PreviousID
	case fieldGroupID:
		return &e.GroupID
	default:
		return &e.SessionID
	}
}

// interpretContext takes the columns out of context, context.page and
// context.campaign. Context only decorates an event: a value of an unexpected
// type stays in Context as it is and fills no column.
func (e *Event) interpretContext(page, campaign []Field) {
	for i := range e.Context {
		f := &e.Context[i]
		if f.Kind != KindString {
			continue
		}
		switch string(f.Key) {
		case "userAgent":
			e.UserAgent = f.Value
		case "ip":
			e.IP = f.Value
		case "locale":
			e.Locale = f.Value
		}
	}
	e.interpretPage(page)
	for i := range campaign {
		f := &campaign[i]
		if f.Kind != KindString {
			continue
		}
		switch string(f.Key) {
		case "source":
			e.Campaign.Source = f.Value
		case "medium":
			e.Campaign.Medium = f.Value
		case "name":
			e.Campaign.Name = f.Value
		case "term":
			e.Campaign.Term = f.Value
		case "content":
			e.Campaign.Content = f.Value
		}
	}
}

// interpretPage fills what is still empty of the page from fields.
func (e *Event) interpretPage(fields []Field) {
	for i := range fields {
		f := &fields[i]
		if f.Kind != KindString {
			continue
		}
		var to *[]byte
		switch string(f.Key) {
		case "url":
			to = &e.PageURL
		case "path":
			to = &e.PagePath
		case "referrer":
			to = &e.PageReferrer
		case "search":
			to = &e.PageSearch
		case "title":
			to = &e.PageTitle
		default:
			continue
		}
		if len(*to) == 0 {
			*to = f.Value
		}
	}
}

// interpretSession looks for a session id where SDKs put it when the event
// has none of its own. One that is no usable id is only a property.
func (e *Event) interpretSession(maxID int) {
	if len(e.SessionID) > 0 {
		return
	}
	if id := textOf(e.Properties, "$session_id"); len(id) > 0 && len(id) <= maxID {
		e.SessionID = id
		return
	}
	if id := textOf(e.Context, "sessionId"); len(id) <= maxID {
		e.SessionID = id
	}
}

// textOf returns the string or number under key.
func textOf(fields []Field, key string) []byte {
	for i := range fields {
		f := &fields[i]
		if string(f.Key) == key && (f.Kind == KindString || f.Kind == KindNumber) {
			return f.Value
		}
	}
	return nil
}
