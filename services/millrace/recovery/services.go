package recovery

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
)

// watchTime is how long it is looked for signs of life: more than the lease of
// a service that has stopped without a word.
const watchTime = 7 * time.Second

// alone makes sure that no service works on the installation. Enrichers and
// indexers renew their leases, ingesters say that they are there, and ingesters
// and indexers wait at consumers, unless they have no room. Who is overlooked
// finds RAW without its subject.
func (r *run) alone(ctx context.Context) error {
	if err := r.watch(ctx); err != nil || !r.cfg.Alone {
		return err
	}
	return bus.ForgetLeases(ctx, r.js, r.names)
}

// watch looks for signs of life and changes nothing.
func (r *run) watch(ctx context.Context) error {
	if r.cfg.Alone {
		return nil
	}
	r.cfg.Progress("looking for services that are still running")
	before, err := r.leases(ctx)
	if err != nil {
		return err
	}
	found := map[string]bool{}
	for end := time.Now().Add(watchTime); time.Now().Before(end); {
		if err := r.consumers(ctx, found); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	after, err := r.leases(ctx)
	if err != nil {
		return err
	}
	for key, revision := range after {
		if before[key] != revision {
			found[key] = true
		}
	}
	r.alive = time.Now()
	if len(found) > 0 {
		return fmt.Errorf("%w (%s)", ErrRunning, strings.Join(slices.Sorted(maps.Keys(found)), ", "))
	}
	return nil
}

// leases are the keys of the bucket by which services share shards out, with
// their revisions.
func (r *run) leases(ctx context.Context) (map[string]uint64, error) {
	ctx, cancel := ask(ctx)
	defer cancel()
	all := map[string]uint64{}
	kv, err := r.js.KeyValue(ctx, r.names.BucketLeases())
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return all, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up the leases: %w", err)
	}
	keys, err := kv.Keys(ctx)
	if errors.Is(err, jetstream.ErrNoKeysFound) {
		return all, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the leases: %w", err)
	}
	for _, k := range keys {
		entry, err := kv.Get(ctx, k)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read lease %s: %w", k, err)
		}
		parts := strings.SplitN(k, ".", 3)
		if len(parts) == 3 && parts[1] == "member" {
			all[parts[0]+" "+parts[2]] = entry.Revision()
		} else if len(parts) == 3 && parts[1] == "shard" {
			all[parts[0]+" "+string(entry.Value())] = entry.Revision()
		}
	}
	return all, nil
}

// consumers notes who waits for messages.
func (r *run) consumers(ctx context.Context, found map[string]bool) error {
	ctx, cancel := ask(ctx)
	defer cancel()
	for _, x := range []struct{ stream, durable, who string }{
		{r.names.StreamIn(), r.names.DurableIngester(), "an ingester"},
		{r.names.StreamDead(), r.names.DurableDeadLetters(), "an indexer"},
	} {
		c, err := r.js.Consumer(ctx, x.stream, x.durable)
		if errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("look up the consumer of %s: %w", x.stream, err)
		}
		if c.CachedInfo().NumWaiting > 0 {
			found[x.who] = true
		}
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
