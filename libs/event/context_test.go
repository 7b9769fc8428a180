package event

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// withoutColumns is what of context no column holds whole.
func withoutColumns(t *testing.T, context map[string]json.RawMessage) map[string]json.RawMessage {
	t.Helper()
	isText := func(raw json.RawMessage) bool { return raw[0] == '"' }
	rest := map[string]json.RawMessage{}
	for key, raw := range context {
		var columns string
		switch key {
		case "userAgent", "ip", "locale":
			if isText(raw) {
				continue
			}
		case "page":
			columns = "url path referrer search title"
		case "campaign":
			columns = "source medium name term content"
		}
		taken := columns != "" && raw[0] == '{'
		for name, value := range object(t, raw) {
			taken = taken && isText(value) && slices.Contains(strings.Fields(columns), name)
		}
		if !taken {
			rest[key] = raw
		}
	}
	return rest
}
