package recovery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
)

// open connects and reads what there is to read at once.
func open(ctx context.Context, cfg Config) (*run, error) {
	r := &run{cfg: cfg, names: cfg.Bus.Names(), streams: map[string]*jetstream.StreamInfo{}, problems: []string{}, at: time.Now().UTC()}
	var err error
	if r.nc, r.js, err = cfg.Bus.Connect("millrace-recover", cfg.Log); err != nil {
		return nil, err
	}
	if r.table, err = openTable(ctx, cfg.DB, cfg.Tables != nil); err != nil {
		r.nc.Close()
		return nil, err
	}
	if err := r.describe(ctx); err != nil {
		r.close()
		return nil, err
	}
	r.told = r.problems
	return r, nil
}

func (r *run) close() {
	r.table.close()
	r.nc.Close()
}

// ask is a call that must not wait for ever for a NATS that is away.
func ask(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, 20*time.Second)
}

// list reads what the streams say of themselves.
func (r *run) list(ctx context.Context) error {
	ctx, cancel := ask(ctx)
	defer cancel()
	clear(r.streams)
	lister := r.js.ListStreams(ctx)
	for i := range lister.Info() {
		r.streams[i.Config.Name] = i
	}
	if err := lister.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		return fmt.Errorf("list NATS's streams: %w", err)
	}
	return nil
}

// mostShards are looked for.
const mostShards = 1024

// describe finds out which installation this is.
func (r *run) describe(ctx context.Context) error {
	if err := r.list(ctx); err != nil {
		return err
	}
	last, err := r.table.highestShard(ctx)
	if err != nil {
		return err
	}
	highest := last
	// RAW_0 is what services ask; without it any other knows the shards.
	candidates := []string{r.names.StreamRaw(0), r.names.StreamLedger(), r.names.StreamIn(), r.names.StreamDead()}
	for i := range mostShards {
		for _, name := range []string{r.names.StreamEnriched(i), r.names.StreamRaw(i)} {
			candidates = append(candidates, name)
			if r.streams[name] != nil {
				highest = max(highest, i)
			}
		}
	}
	r.inst.Names = r.names
	var few bus.Installation
	for _, name := range candidates {
		i := r.streams[name]
		if i == nil {
			continue
		}
		inst, to, ok := bus.Described(r.names, i.Config)
		r.marked = r.marked || to != 0
		switch {
		case !ok:
			r.problem("stream %s does not say what installation it is of", name)
			continue
		case inst.Shards <= highest: // it was made anew, with too few
			if few.Shards == 0 {
				r.problem("stream %s says that there are %d shards, but there is a shard %d", name, inst.Shards, highest)
				few = inst
			}
			continue
		}
		r.inst = inst
		break
	}
	switch {
	case r.inst.Shards != 0:
		return nil
	case few.Shards != 0:
		r.inst, r.inst.Shards = few, r.cfg.Plan.Shards
	case last < 0 && len(r.streams) == 0:
		return ErrNothing
	default:
		r.problem("NATS holds no stream of this installation")
		r.inst.Shards, r.inst.Sinks = r.cfg.Plan.Shards, r.cfg.Plan.Sinks
		if r.inst.Shards == 0 {
			r.inst.Shards = max(highest+1, 1)
			if highest < 0 {
				r.inst.Shards = bus.DefaultShards
			}
		}
		if r.inst.Sinks == 0 {
			r.inst.Sinks = bus.DefaultSinks
		}
	}
	if r.inst.Shards <= highest {
		return fmt.Errorf("%w: shard %d exists", ErrShards, highest)
	}
	return nil
}

// reopened says that a decision was carried out up to its last step, which is
// only to write that down.
func (r *run) reopened(d *decision) bool {
	first := r.streams[r.names.StreamRaw(0)]
	if first == nil {
		return false
	}
	inst, to, ok := bus.Described(r.names, first.Config)
	return ok && inst.Incarnation == d.To.Incarnation && to == 0
}
