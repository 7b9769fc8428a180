package sources

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/libs/bus"
)

// Version is that of the records which this package writes. It grows when a
// record means something else to a reader of before; members that such a reader
// may leave out do not change it.
const Version = 1

// Bounds of a record.
const (
	maxKeys    = 32
	maxOrigins = 256
	maxNames   = 2_000
	maxText    = 512 // of a note, and of an event's name
	maxBurst   = time.Minute
	// defaultBurst is how long a source may have been silent to send what it
	// saved at once.
	defaultBurst = 5 * time.Second
)

// Record is a source as it is stored, under its name.
type Record struct {
	Version int    `json:"version"`
	Name    string `json:"name"`
	Keys    []Key  `json:"keys"`
	// Origins are those of the pages that may send, such as
	// https://shop.example.com or https://*.example.com; none: all.
	Origins []string `json:"origins,omitempty"`
	Rate    Rate     `json:"rate,omitzero"`
	// Allow is what the source may send; empty: all.
	Allow    Allow     `json:"allow,omitzero"`
	Disabled bool      `json:"disabled,omitempty"`
	Created  time.Time `json:"created"`
	Updated  time.Time `json:"updated"`
}

// Rate bounds a source in each process that takes events; 0 bounds nothing.
type Rate struct {
	EventsPerSecond int64 `json:"events_per_second,omitempty"`
	BytesPerSecond  int64 `json:"bytes_per_second,omitempty"`
	// BurstSeconds is for how long a silent source saves its rate; 0: 5.
	BurstSeconds int `json:"burst_seconds,omitempty"`
}

// burst is what a full bucket of a rate holds.
func (r Rate) burst(perSecond int64) int64 {
	seconds := int64(r.BurstSeconds)
	if seconds == 0 {
		seconds = int64(defaultBurst / time.Second)
	}
	return perSecond * seconds
}

// Allow lists events. One is in it if its type or its name is.
type Allow struct {
	Types []string `json:"types,omitempty"` // of the Segment Spec: track, page ...
	Names []string `json:"names,omitempty"`
}

// IsZero says whether nothing is listed, so that all is allowed.
func (a Allow) IsZero() bool { return len(a.Types) == 0 && len(a.Names) == 0 }

// Key is a write key as it is stored.
type Key struct {
	ID       string    `json:"id"`     // for people, no secret: the first digits of SHA256
	SHA256   string    `json:"sha256"` // of the key, in hex
	Created  time.Time `json:"created"`
	Ends     time.Time `json:"ends,omitzero"` // it works until then; zero: until it is disabled
	Disabled bool      `json:"disabled,omitempty"`
	Note     string    `json:"note,omitempty"`
}

// idDigits of a digest name its key.
const idDigits = 8

// NewKey makes a write key. The text is known to nobody but the caller.
func NewKey(now time.Time, note string) (text string, key Key) {
	text = "mr_" + strings.ToLower(rand.Text())
	digest := hex.EncodeToString(digestOf(text))
	return text, Key{ID: digest[:idDigits], SHA256: digest, Created: now.UTC().Truncate(time.Second), Note: note}
}

func digestOf(key string) []byte {
	sum := sha256.Sum256([]byte(key))
	return sum[:]
}

// Works says whether the key opens anything at a time, if its source does.
func (k *Key) Works(now time.Time) bool {
	return !k.Disabled && (k.Ends.IsZero() || now.Before(k.Ends))
}

// digest is SHA256 as bytes.
func (k *Key) digest() (d [sha256.Size]byte, err error) {
	sum, err := hex.DecodeString(k.SHA256)
	if err != nil || len(sum) != len(d) {
		return d, fmt.Errorf("key %s: sha256 is not 64 hex digits", k.ID)
	}
	copy(d[:], sum)
	return d, nil
}

// ErrUnreadable says that a value of the bucket is no source, or one of a later
// version of Millrace.
var ErrUnreadable = errors.New("sources: the record cannot be read")

// parse reads the value of a key of the bucket.
func parse(name string, value []byte) (Record, error) {
	var r Record
	if err := json.Unmarshal(value, &r); err != nil {
		return r, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	switch {
	case r.Version > Version:
		return r, fmt.Errorf("%w: it has version %d, this program knows %d: update the program", ErrUnreadable, r.Version, Version)
	case r.Version < 1:
		return r, fmt.Errorf("%w: it has no version", ErrUnreadable)
	case r.Name != name:
		return r, fmt.Errorf("%w: it names the source %q", ErrUnreadable, r.Name)
	}
	if err := r.check(true); err != nil {
		return r, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return r, nil
}

// Validate says what is wrong with a record, and brings its origins into the
// form in which browsers send them.
func (r *Record) Validate() error { return r.check(false) }

// check is Validate. A stored record may have an origin that is not written as
// browsers send it, which was taken once: it agrees with none, and is no reason
// not to know the source.
func (r *Record) check(stored bool) error {
	if err := bus.ValidSource(r.Name); err != nil {
		return err
	}
	switch b := r.Rate; {
	case b.EventsPerSecond < 0 || b.BytesPerSecond < 0:
		return fmt.Errorf("rate of %d events and %d bytes a second: want 0 (without bounds) or more", b.EventsPerSecond, b.BytesPerSecond)
	case b.EventsPerSecond > 1e9 || b.BytesPerSecond > 1e12:
		return fmt.Errorf("rate of %d events and %d bytes a second: that is no bound, leave it at 0", b.EventsPerSecond, b.BytesPerSecond)
	case b.BurstSeconds < 0 || b.BurstSeconds > int(maxBurst/time.Second):
		return fmt.Errorf("burst of %d seconds: want 1 to %d", b.BurstSeconds, maxBurst/time.Second)
	case len(r.Keys) > maxKeys:
		return fmt.Errorf("%d keys: at most %d", len(r.Keys), maxKeys)
	case len(r.Origins) > maxOrigins:
		return fmt.Errorf("%d origins: at most %d", len(r.Origins), maxOrigins)
	case len(r.Allow.Names) > maxNames:
		return fmt.Errorf("%d names of events: at most %d", len(r.Allow.Names), maxNames)
	}
	for i := range r.Keys {
		if _, err := r.Keys[i].digest(); err != nil {
			return err
		}
	}
	for i, text := range r.Origins {
		o, err := normalOrigin(text)
		if stored && errors.Is(err, errNotASCII) {
			continue
		}
		if err != nil {
			return err
		}
		r.Origins[i] = o
	}
	for _, t := range r.Allow.Types {
		if !slices.Contains(types, t) {
			return fmt.Errorf("type of events %q: want one of %s", t, strings.Join(types, ", "))
		}
	}
	for _, n := range r.Allow.Names {
		if n == "" || len(n) > maxText {
			return fmt.Errorf("name of an event %q: want 1 to %d bytes", n, maxText)
		}
	}
	return nil
}

// types are the calls of the Segment Spec.
var types = []string{"alias", "group", "identify", "page", "screen", "track"}
