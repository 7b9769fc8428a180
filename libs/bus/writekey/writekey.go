// Package writekey says which source a sender writes to, by the key that it
// shows: at the ingester's doors, and at query's for an ask, which is stored as
// an event of the source.
//
// Only digests are kept, so that a key cannot be printed. They are what is looked
// for too, so that the time of a lookup tells nothing by which a key is guessed.
package writekey

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"maps"
	"strings"

	"github.com/millrace/millrace/libs/bus"
)

// Keys maps write keys to the sources that they write to. It is a flag.Value of
// the form source:key,source:key; a source may have several keys.
type Keys struct{ sources map[[sha256.Size]byte]string }

// Set adds the keys of a list to those that are there.
func (k *Keys) Set(list string) error {
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
func (k *Keys) Add(source, key string) error {
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
func (k *Keys) Len() int { return len(k.sources) }

// String implements flag.Value and tells only how many keys there are; package
// flag calls it on nil too.
func (k *Keys) String() string {
	if k == nil || k.Len() == 0 {
		return ""
	}
	return fmt.Sprintf("%d keys", k.Len())
}

// IsSecret keeps the flag out of --print-config.
func (k *Keys) IsSecret() bool { return k.Len() > 0 }

// Source finds the source that a key writes to.
func (k *Keys) Source(key string) (string, bool) {
	source, ok := k.sources[sha256.Sum256([]byte(key))]
	return source, ok
}

// Digests are the SHA-256 of each key with its source, in no order.
func (k *Keys) Digests() iter.Seq2[[sha256.Size]byte, string] { return maps.All(k.sources) }
