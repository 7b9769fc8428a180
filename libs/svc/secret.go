package svc

import (
	"errors"
	"log/slog"
	"net/url"
	"strings"
)

// redacted stands wherever a secret would be printed.
const redacted = "<redacted>"

// Secret is a flag.Value whose content is never printed: not by
// --print-config, not by fmt, not by slog, not by encoding/json. Reveal gives
// the content.
type Secret string

// Set implements flag.Value. It refuses the text that --print-config prints
// in place of a secret, so that printed output cannot become a password.
func (s *Secret) Set(v string) error {
	if v == redacted {
		return errors.New("this is what --print-config prints instead of the secret, not the secret")
	}
	*s = Secret(v)
	return nil
}

// Reveal returns the secret itself, to be handed to whatever authenticates.
func (s Secret) Reveal() string { return string(s) }

// String implements flag.Value and fmt.Stringer.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString implements fmt.GoStringer.
func (s Secret) GoString() string { return s.String() }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText implements encoding.TextMarshaler, and with it JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// IsSecret marks the flag for --print-config. Any flag.Value that holds a
// secret beside other things (a list of write keys, say) can have this method
// too and is then redacted as a whole.
func (s Secret) IsSecret() bool { return s != "" }

// redactURLs removes passwords and tokens from a comma-separated list of
// addresses: nats://user:pass@a,nats://token@b and http://a/?password=x. Text
// without "://" is returned as it is.
func redactURLs(text string) string {
	if !strings.Contains(text, "://") {
		return text
	}
	parts := strings.Split(text, ",")
	for i, part := range parts {
		u, err := url.Parse(part)
		if err != nil {
			if strings.Contains(part, "@") {
				parts[i] = redacted
			}
			continue
		}
		changed := false
		if u.User != nil {
			// A lone user name is a token in NATS's own URLs.
			if _, both := u.User.Password(); both {
				u.User = url.UserPassword(u.User.Username(), "redacted")
			} else {
				u.User = url.User("redacted")
			}
			changed = true
		}
		query := u.Query()
		for key := range query {
			if strings.Contains(strings.ToLower(key), "password") {
				query.Set(key, "redacted")
				changed = true
			}
		}
		if changed {
			u.RawQuery = query.Encode()
			parts[i] = u.String()
		}
	}
	return strings.Join(parts, ",")
}
