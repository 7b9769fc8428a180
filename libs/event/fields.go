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
// context.campaign, and leaves in Context what has no column: a fact is kept
// once. Context only decorates an event: a value of an unexpected type stays in
// Context as it is and fills no column, and so does an object with any field
// that has none.
func (e *Event) interpretContext(page, campaign []Field) {
	rest := e.Context[:0]
	for i := range e.Context {
		f := &e.Context[i]
		if !e.takeContext(f, page, campaign) {
			rest = append(rest, *f)
		}
	}
	e.Context = rest
}

// takeContext fills the columns of one field and says whether they hold all of
// it.
func (e *Event) takeContext(f *Field, page, campaign []Field) bool {
	switch {
	case f.Kind == KindObject && string(f.Key) == "page":
		return e.interpretPage(page)
	case f.Kind == KindObject && string(f.Key) == "campaign":
		return e.interpretCampaign(campaign)
	case f.Kind != KindString:
		return false
	}
	switch string(f.Key) {
	case "userAgent":
		e.UserAgent = f.Value
	case "ip":
		e.IP = f.Value
	case "locale":
		e.Locale = f.Value
	default:
		return false
	}
	return true
}

func (e *Event) interpretCampaign(fields []Field) (all bool) {
	all = true
	for i := range fields {
		f := &fields[i]
		var to *[]byte
		switch string(f.Key) {
		case "source":
			to = &e.Campaign.Source
		case "medium":
			to = &e.Campaign.Medium
		case "name":
			to = &e.Campaign.Name
		case "term":
			to = &e.Campaign.Term
		case "content":
			to = &e.Campaign.Content
		}
		if to == nil || f.Kind != KindString {
			all = false
			continue
		}
		*to = f.Value
	}
	return all
}

// interpretPage fills what is still empty of the page from fields, and says
// whether the page's columns hold all of them.
func (e *Event) interpretPage(fields []Field) (all bool) {
	all = true
	for i := range fields {
		f := &fields[i]
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
		}
		if to == nil || f.Kind != KindString {
			all = false
			continue
		}
		if len(*to) == 0 {
			*to = f.Value
		}
	}
	return all
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
