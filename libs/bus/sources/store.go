package sources

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
)

var (
	// ErrExists says that a source of that name is there already.
	ErrExists = errors.New("the source exists already")
	// ErrUnknown says that there is no source of that name.
	ErrUnknown = errors.New("there is no such source")
	// ErrSameKey says that another source has the key.
	ErrSameKey = errors.New("another source has the same write key")
	// ErrContended says that others have changed the source again and again.
	ErrContended = errors.New("the source is being changed by others; try again")
)

// changes is how often a change is tried while others change the same source.
const changes = 8

// Store is for who changes sources.
type Store struct{ kv jetstream.KeyValue }

// Open finds the bucket. The error wraps [bus.ErrNotProvisioned] when there is
// none.
func Open(ctx context.Context, js jetstream.JetStream, names bus.Names) (*Store, error) {
	kv, err := js.KeyValue(ctx, names.BucketSources())
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, fmt.Errorf("bucket %s: %w", names.BucketSources(), bus.ErrNotProvisioned)
	}
	if err != nil {
		return nil, fmt.Errorf("look up bucket %s: %w", names.BucketSources(), err)
	}
	return &Store{kv}, nil
}

// Add creates a source. Its name and keys must be nobody else's.
func (s *Store) Add(ctx context.Context, r Record) (Record, error) {
	if err := r.Validate(); err != nil {
		return r, err
	}
	if err := s.unshared(ctx, &r); err != nil {
		return r, err
	}
	now := time.Now().UTC()
	r.Version, r.Created, r.Updated = Version, now, now
	value, err := json.Marshal(&r)
	if err != nil {
		return r, fmt.Errorf("source %s: %w", r.Name, err)
	}
	_, err = s.kv.Create(ctx, r.Name, value)
	if errors.Is(err, jetstream.ErrKeyExists) {
		return r, fmt.Errorf("%s: %w", r.Name, ErrExists)
	}
	if err != nil {
		return r, fmt.Errorf("store source %s: %w", r.Name, err)
	}
	return r, nil
}

// Get reads a source.
func (s *Store) Get(ctx context.Context, name string) (Record, error) {
	r, _, err := s.get(ctx, name)
	return r, err
}

func (s *Store) get(ctx context.Context, name string) (Record, uint64, error) {
	if err := bus.ValidSource(name); err != nil {
		return Record{}, 0, err
	}
	entry, err := s.kv.Get(ctx, name)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return Record{}, 0, fmt.Errorf("%s: %w", name, ErrUnknown)
	}
	if err != nil {
		return Record{}, 0, fmt.Errorf("read source %s: %w", name, err)
	}
	r, err := parse(name, entry.Value())
	if err != nil {
		return Record{}, 0, fmt.Errorf("source %s: %w", name, err)
	}
	return r, entry.Revision(), nil
}

// List reads all sources that can be read, by name, and names the others.
func (s *Store) List(ctx context.Context) (list []Record, unreadable []string, err error) {
	keys, err := s.kv.ListKeys(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("list the sources: %w", err)
	}
	defer func() { _ = keys.Stop() }()
	for name := range keys.Keys() {
		r, err := s.Get(ctx, name)
		switch {
		case errors.Is(err, ErrUnknown): // removed meanwhile
		case errors.Is(err, ErrUnreadable):
			unreadable = append(unreadable, name)
		case err != nil:
			return nil, nil, err
		default:
			list = append(list, r)
		}
	}
	if err := ctx.Err(); err != nil { // the list may have been cut
		return nil, nil, fmt.Errorf("list the sources: %w", err)
	}
	slices.SortFunc(list, func(a, b Record) int { return cmp.Compare(a.Name, b.Name) })
	slices.Sort(unreadable)
	return list, unreadable, nil
}

// Change lets change alter a source and stores it, unless it is as it was. It
// may be called several times, each with what others have made of the source.
func (s *Store) Change(ctx context.Context, name string, change func(*Record) error) (Record, error) {
	for range changes {
		r, revision, err := s.get(ctx, name)
		if err != nil {
			return r, err
		}
		before, err := json.Marshal(&r)
		if err != nil {
			return r, fmt.Errorf("source %s: %w", name, err)
		}
		if err := change(&r); err != nil {
			return r, err
		}
		if err := r.Validate(); err != nil {
			return r, err
		}
		value, err := json.Marshal(&r)
		if err == nil && string(value) != string(before) {
			if err = s.unshared(ctx, &r); err != nil {
				return r, err
			}
			r.Name, r.Version, r.Updated = name, Version, time.Now().UTC()
			value, err = json.Marshal(&r)
		} else if err == nil {
			return r, nil
		}
		if err != nil {
			return r, fmt.Errorf("source %s: %w", name, err)
		}
		_, err = s.kv.Update(ctx, name, value, revision)
		switch {
		case err == nil:
			return r, nil
		case !isRevision(err):
			return r, fmt.Errorf("store source %s: %w", name, err)
		}
	}
	return Record{}, fmt.Errorf("%s: %w", name, ErrContended)
}

// unshared says whether a key of r is another source's. Two who add the same
// key at the same moment are not seen here; the registry lets the older have it.
func (s *Store) unshared(ctx context.Context, r *Record) error {
	mine := map[string]bool{}
	for i := range r.Keys {
		mine[r.Keys[i].SHA256] = true
	}
	if len(mine) == 0 {
		return nil
	}
	others, _, err := s.List(ctx)
	if err != nil {
		return err
	}
	for i := range others {
		if others[i].Name == r.Name {
			continue
		}
		for j := range others[i].Keys {
			if k := &others[i].Keys[j]; mine[k.SHA256] {
				return fmt.Errorf("%w: key %s of %s", ErrSameKey, k.ID, others[i].Name)
			}
		}
	}
	return nil
}

// isRevision says whether a write came after another one.
func isRevision(err error) bool {
	api, ok := errors.AsType[jetstream.JetStreamError](err)
	return ok && api.APIError() != nil && api.APIError().ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		errors.Is(err, jetstream.ErrKeyExists)
}
