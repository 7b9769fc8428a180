package demo

import (
	"encoding/json"
	"fmt"
	"net/url"
	"time"
)

// envelope is an event as a browser's library sends it, in the Segment Spec's
// fields.
type envelope struct {
	MessageID   string         `json:"messageId"`
	Type        string         `json:"type"`
	Event       string         `json:"event,omitempty"`
	Name        string         `json:"name,omitempty"`
	AnonymousID string         `json:"anonymousId"`
	UserID      string         `json:"userId,omitempty"`
	SessionID   string         `json:"sessionId"`
	Timestamp   string         `json:"timestamp"`
	SentAt      string         `json:"sentAt"`
	Properties  map[string]any `json:"properties,omitempty"`
	Traits      map[string]any `json:"traits,omitempty"`
	Context     map[string]any `json:"context"`
}

func (s *Shop) encode(v *visit, a act, now time.Time) []byte {
	at := now.UTC().Format("2006-01-02T15:04:05.000Z07:00")
	e := envelope{
		MessageID: s.messageID(), Type: a.kind, AnonymousID: v.anonymous, UserID: v.user, SessionID: v.session,
		Timestamp: at, SentAt: at, Properties: a.properties, Traits: a.traits,
		Context: map[string]any{
			"page": v.pageContext(), "userAgent": v.device.agent, "ip": v.ip, "locale": v.locale,
			"library": map[string]any{"name": "millrace-demo", "version": "1"},
		},
	}
	if a.kind == "track" {
		e.Event = a.name
	} else {
		e.Name = a.name
	}
	if v.origin.source != "" {
		e.Context["campaign"] = map[string]any{"source": v.origin.source, "medium": v.origin.medium, "name": v.origin.campaign}
	}
	text, err := json.Marshal(e)
	if err != nil {
		panic(fmt.Sprintf("an event of strings, numbers and maps cannot be encoded: %v", err))
	}
	return text
}

// pageContext is what a browser would say of its page. The landing page carries
// the campaign in its address.
func (v *visit) pageContext() map[string]any {
	page := map[string]any{"url": shopURL + v.page, "path": v.page, "title": v.title}
	switch {
	case v.previous != "":
		page["referrer"] = shopURL + v.previous
	case v.origin.referrer != "":
		page["referrer"] = v.origin.referrer
	}
	if v.previous == "" && v.origin.source != "" {
		q := url.Values{"utm_source": {v.origin.source}}
		if v.origin.medium != "" {
			q.Set("utm_medium", v.origin.medium)
			q.Set("utm_campaign", v.origin.campaign)
		}
		page["search"] = "?" + q.Encode()
		page["url"] = shopURL + v.page + "?" + q.Encode()
	}
	return page
}
