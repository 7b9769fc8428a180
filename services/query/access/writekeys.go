package access

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"github.com/millrace/millrace/libs/bus"
)

// WriteKeys maps the write keys of the ingester to their sources; whoever may write for a source may send the asks
// of its users, and gets their context in the answers. It is a flag.Value of the form source:key,source:key. Only digests are kept.
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

// String implements flag.Value and tells only how many keys there are.
func (k *WriteKeys) String() string {
	if k == nil || len(k.sources) == 0 {
		return ""
	}
	return fmt.Sprintf("%d keys", len(k.sources))
}

// IsSecret keeps the flag out of --print-config.
func (k *WriteKeys) IsSecret() bool { return len(k.sources) > 0 }
