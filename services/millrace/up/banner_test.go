package up

import (
	"bytes"
	"strings"
	"testing"
)

// What the banner says can be copied: it shows a key where one is needed.
func TestBannerShowsTheKeysThatAreNeeded(t *testing.T) {
	r := Ready{Ingest: "http://in", Query: "http://out", Source: "shop", WriteKey: "mr_1"}
	const bearer = "-H 'Authorization: Bearer <key>'"
	for name, tc := range map[string]struct {
		change   func(*Config)
		sql, ask string
	}{
		"no keys":     {func(*Config) {}, "PrettyCompact' -d", "curl 'http://out/v1/ask' -H 'X-Write-Key: mr_1' -d"},
		"API keys":    {func(c *Config) { c.APIKeys = []string{"k"} }, "PrettyCompact' " + bearer + " -d", "/v1/ask' -H 'X-Write-Key: mr_1' -d"},
		"access file": {func(c *Config) { c.AccessFile = "f" }, "PrettyCompact' " + bearer + " -d", "/v1/ask' -H 'X-Write-Key: mr_1' -d"},
		"asks need API keys": {
			func(c *Config) { c.AccessFile, c.AskNeedsAPIKey = "f", true },
			"PrettyCompact' " + bearer + " -d", "curl 'http://out/v1/ask?source=shop' " + bearer + " -d",
		},
	} {
		var out bytes.Buffer
		c := Config{Out: &out}
		tc.change(&c)
		c.banner(r, Budget{}, disk{})
		if text := out.String(); !strings.Contains(text, tc.sql) || !strings.Contains(text, tc.ask) {
			t.Errorf("%s:\n%s", name, text)
		}
	}
}
