package ingester

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/millrace/millrace/libs/bus"
)

// WriteKeys maps write keys to the sources that they write to. It is a
// flag.Value of the form source:key,source:key; a source may have several
// keys. Only digests are kept, so that a key cannot be printed or compared in
// a time that depends on it.
type WriteKeys struct{ sources map[[sha256.Size]byte]string }

// Set adds the keys of a list to those that are there.
func (k *WriteKeys) Set(list string) error {
	for pair := range strings.SplitSeq(list, ",") {
		source, key, ok := strings.Cut(strings.TrimSpace(pair), ":")
		if !ok || key == "" {
			return errors.New("want source:key, and commas between several") // no part of it may be shown
		}
		if err := k.Add(source, key); err != nil {
			return err
		}
	}
	return nil
}

// Add gives a source one more key.
func (k *WriteKeys) Add(source, key string) error {
	if err := bus.ValidSource(source); err != nil {
		return err
	}
	digest := sha256.Sum256([]byte(key))
	if owner, ok := k.sources[digest]; ok && owner != source {
		return fmt.Errorf("sources %s and %s have the same write key", owner, source)
	}
	if k.sources == nil {
		k.sources = map[[sha256.Size]byte]string{}
	}
	k.sources[digest] = source
	return nil
}

// Len is the number of keys.
func (k *WriteKeys) Len() int { return len(k.sources) }

// String implements flag.Value and tells only how many keys there are.
func (k *WriteKeys) String() string {
	if k.Len() == 0 {
		return ""
	}
	return fmt.Sprintf("%d keys", k.Len())
}

// IsSecret keeps the flag out of --print-config.
func (k *WriteKeys) IsSecret() bool { return k.Len() > 0 }

// sourceOf finds the source that a key writes to.
func (k *WriteKeys) sourceOf(key string) (string, bool) {
	given := sha256.Sum256([]byte(key))
	found := ""
	for digest, source := range k.sources { // all of them, whichever it is
		if subtle.ConstantTimeCompare(digest[:], given[:]) == 1 {
			found = source
		}
	}
	return found, found != ""
}

// writeKeyOf is the key that a request brings: X-Write-Key, the user name of
// Basic, or a Bearer token.
func writeKeyOf(r *http.Request) string {
	if key := r.Header.Get("X-Write-Key"); key != "" {
		return key
	}
	if user, _, ok := r.BasicAuth(); ok {
		return user
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token)
	}
	return ""
}
