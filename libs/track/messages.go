package track

import (
	"context"
	"maps"
	"time"
)

// Properties are what is known about an action: Segment Spec, track and page.
// Values are anything that encoding/json writes; NaN and infinities are not.
type Properties map[string]any

// Traits are what is known about a user or a group: Segment Spec, identify and
// group.
type Traits map[string]any

// Context is what surrounds an event: Segment Spec, common fields. Millrace has
// columns for ip, userAgent, locale, page {url, path, referrer, search, title}
// and campaign {source, medium, name, term, content}; other keys are kept.
type Context map[string]any

// Message is an event: [Track], [Identify], [Page], [Screen], [Group], [Alias]
// or [Raw].
//
// Every message needs a UserID or an AnonymousID. An empty MessageID becomes a
// new UUIDv7 and a zero Timestamp the time of the call. A MessageID of your own
// makes two events of a source with the same one a single event.
type Message interface {
	// fill writes the message's fields; it is unexported so that the set is closed.
	fill(w *wire)
}

// Track is an action of a user. Event, its name, is needed.
type Track struct {
	UserID      string
	AnonymousID string
	SessionID   string
	Event       string
	Properties  Properties
	Context     Context
	MessageID   string
	Timestamp   time.Time
}

// Identify says who a user is. With both ids it joins them.
type Identify struct {
	UserID      string
	AnonymousID string
	SessionID   string
	Traits      Traits
	Context     Context
	MessageID   string
	Timestamp   time.Time
}

// Page is a view of a page. Its url, path, referrer, search and title belong
// into Properties or into Context under page.
type Page struct {
	UserID      string
	AnonymousID string
	SessionID   string
	Name        string
	Properties  Properties
	Context     Context
	MessageID   string
	Timestamp   time.Time
}

// Screen is a view of a screen of an app.
type Screen struct {
	UserID      string
	AnonymousID string
	SessionID   string
	Name        string
	Properties  Properties
	Context     Context
	MessageID   string
	Timestamp   time.Time
}

// Group says to which company, team or account a user belongs. GroupID is
// needed.
type Group struct {
	UserID      string
	AnonymousID string
	SessionID   string
	GroupID     string
	Traits      Traits
	Context     Context
	MessageID   string
	Timestamp   time.Time
}

// Alias says that PreviousID, which is needed, and UserID are one user.
type Alias struct {
	UserID      string
	AnonymousID string
	SessionID   string
	PreviousID  string
	Context     Context
	MessageID   string
	Timestamp   time.Time
}

// Raw is an event as JSON, such as [OnError] was given: an object with a
// messageId. It is sent as it is, but for white space.
type Raw []byte

func (m Track) fill(w *wire) {
	w.Type, w.Event, w.Properties = "track", m.Event, m.Properties
	w.common(m.UserID, m.AnonymousID, m.SessionID, m.Context, m.MessageID, m.Timestamp)
}

func (m Identify) fill(w *wire) {
	w.Type, w.Traits = "identify", m.Traits
	w.common(m.UserID, m.AnonymousID, m.SessionID, m.Context, m.MessageID, m.Timestamp)
}

func (m Page) fill(w *wire) {
	w.Type, w.Name, w.Properties = "page", m.Name, m.Properties
	w.common(m.UserID, m.AnonymousID, m.SessionID, m.Context, m.MessageID, m.Timestamp)
}

func (m Screen) fill(w *wire) {
	w.Type, w.Name, w.Properties = "screen", m.Name, m.Properties
	w.common(m.UserID, m.AnonymousID, m.SessionID, m.Context, m.MessageID, m.Timestamp)
}

func (m Group) fill(w *wire) {
	w.Type, w.GroupID, w.Traits = "group", m.GroupID, m.Traits
	w.common(m.UserID, m.AnonymousID, m.SessionID, m.Context, m.MessageID, m.Timestamp)
}

func (m Alias) fill(w *wire) {
	w.Type, w.PreviousID = "alias", m.PreviousID
	w.common(m.UserID, m.AnonymousID, m.SessionID, m.Context, m.MessageID, m.Timestamp)
}

func (m Raw) fill(w *wire) { w.raw = m }

// contextKey is where WithContext keeps a Context.
type contextKey struct{}

// WithContext returns a ctx whose events carry c beside their own Context, whose
// keys win. A middleware puts there what is known of a request: ip, userAgent,
// page. Keys that an outer WithContext has set stay, unless c has them too.
func WithContext(ctx context.Context, c Context) context.Context {
	return context.WithValue(ctx, contextKey{}, merged(contextOf(ctx), c))
}

// contextOf is what WithContext has put there. Calls with a nil ctx are wrong,
// but not worth a crash.
func contextOf(ctx context.Context) Context {
	if ctx == nil {
		return nil
	}
	c, _ := ctx.Value(contextKey{}).(Context)
	return c
}

// merged has the keys of all of them, where the later win. It may be one of
// them, so nobody may change it.
func merged(all ...Context) Context {
	var sum Context
	owned := false
	for _, c := range all {
		switch {
		case len(c) == 0:
		case sum == nil:
			sum = c
		default:
			if !owned {
				sum, owned = maps.Clone(sum), true
			}
			maps.Copy(sum, c)
		}
	}
	return sum
}
