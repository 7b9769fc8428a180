package ingester

import (
	"context"
	"errors"
	"flag"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event"
	"github.com/millrace/millrace/libs/svc"
)

// defaultSizes are the limits of new streams when nobody says others: days of
// events for most, and together (18 GiB with 4 shards) below what a small
// machine can spare.
var defaultSizes = bus.Sizes{In: 1 << 30, Raw: 2 << 30, Enriched: 2 << 30, Dead: 1 << 30}

// RegisterPlan declares the flags of the streams. What is left at 0 is the
// default of new streams and stays as it is of existing ones.
func RegisterPlan(fs *flag.FlagSet, p *bus.Plan) {
	fs.IntVar(&p.Shards, "shards", 0, "number of shards of a new installation; cannot be changed later (0: 4, or what exists)")
	fs.IntVar(&p.Sinks, "sinks", 0, "number of sinks of a new installation: how many blocks go into ClickHouse at once, at most one a shard; cannot be changed later (0: 1, or what exists)")
	fs.IntVar(&p.Replicas, "replicas", 1, "copies of every stream in a NATS cluster")
	fs.Var((*svc.Bytes)(&p.Sizes.In), "in-size", "most `bytes` of the NATS door's stream (0: 1GiB, or what exists)")
	fs.Var((*svc.Bytes)(&p.Sizes.Raw), "raw-size", "most `bytes` of each shard's RAW stream (0: 2GiB, or what exists)")
	fs.Var((*svc.Bytes)(&p.Sizes.Enriched), "enriched-size", "most `bytes` of each shard's ENRICHED stream (0: 2GiB, or what exists)")
	fs.Var((*svc.Bytes)(&p.Sizes.Dead), "dead-size", "most `bytes` of the dead letters' stream (0: 1GiB, or what exists)")
}

// prepare makes or only finds the streams.
func (s *Ingester) prepare(ctx context.Context, js jetstream.JetStream, maxPayload int64) (bus.Installation, error) {
	names := s.cfg.Bus.Names()
	most := int32(limitsFor(s.cfg.Limits, maxPayload).MaxRequest)
	if !s.cfg.ManageStreams {
		inst, err := bus.Open(ctx, js, names)
		if err != nil {
			return inst, err
		}
		return inst, checkIn(ctx, js, names, most)
	}
	return provision(ctx, js, names, s.cfg.Plan, most)
}

// Provision creates and resizes the streams as an ingester with ManageStreams
// does when it starts, and returns (`millrace migrate`). Of cfg it takes Bus,
// Plan, Limits and Log. It waits for NATS until ctx is done.
func Provision(ctx context.Context, cfg Config) (bus.Installation, error) {
	cfg = cfg.withDefaults()
	cfg.ManageStreams = true
	nc, js, err := cfg.Bus.Connect("millrace-migrate", cfg.Log)
	if err != nil {
		return bus.Installation{}, err
	}
	defer nc.Close()
	s := &Ingester{cfg: cfg}
	inst, _, err := s.reach(ctx, nc, js)
	return inst, err
}

func provision(ctx context.Context, js jetstream.JetStream, names bus.Names, plan bus.Plan, most int32) (bus.Installation, error) {
	plan, err := completed(ctx, js, names, plan)
	if err != nil {
		return bus.Installation{}, err
	}
	if plan.MaxIn <= 0 || plan.MaxIn > most {
		plan.MaxIn = most
	}
	return bus.Provision(ctx, js, names, plan)
}

// payloadOf is the largest message that NATS takes.
func payloadOf(nc *nats.Conn, limits event.Limits) (int64, error) {
	if !nc.IsConnected() {
		return 0, nats.ErrDisconnected
	}
	most := nc.MaxPayload()
	if least := int64(growth * limits.MaxEvent); most < least {
		return 0, fmt.Errorf("NATS's max_payload of %d bytes is too small: set it to %d at least, so that the enriched frame of an event of %d bytes fits",
			most, least, limits.MaxEvent)
	}
	return most, nil
}

// lasting marks the errors that do not pass by themselves as final.
func lasting(err error) error {
	if err == nil || provisional(err) {
		return err
	}
	return svc.Permanent(err)
}

// completed fills what the plan leaves open with what exists, or the
// defaults.
func completed(ctx context.Context, js jetstream.JetStream, names bus.Names, plan bus.Plan) (bus.Plan, error) {
	if plan.Shards == 0 {
		inst, err := bus.Open(ctx, js, names)
		if err != nil && !errors.Is(err, bus.ErrNotProvisioned) {
			return plan, err
		}
		plan.Shards = max(inst.Shards, 0)
	}
	for _, open := range []struct {
		size   *int64
		stream string
		def    int64
	}{
		{&plan.Sizes.In, names.StreamIn(), defaultSizes.In},
		{&plan.Sizes.Raw, names.StreamRaw(0), defaultSizes.Raw},
		{&plan.Sizes.Enriched, names.StreamEnriched(0), defaultSizes.Enriched},
		{&plan.Sizes.Dead, names.StreamDead(), defaultSizes.Dead},
	} {
		if *open.size != 0 {
			continue
		}
		stream, err := js.Stream(ctx, open.stream)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
			*open.size = open.def
		case err != nil:
			return plan, fmt.Errorf("look up stream %s: %w", open.stream, err)
		default:
			*open.size = stream.CachedInfo().Config.MaxBytes
		}
	}
	return plan, nil
}

// checkIn refuses a NATS door that takes messages which RAW cannot carry:
// they would be acknowledged to their publishers and stay in IN for ever.
func checkIn(ctx context.Context, js jetstream.JetStream, names bus.Names, most int32) error {
	stream, err := js.Stream(ctx, names.StreamIn())
	if err != nil {
		return fmt.Errorf("look up stream %s: %w", names.StreamIn(), err)
	}
	if have := stream.CachedInfo().Config.MaxMsgSize; have <= 0 || have > most {
		return fmt.Errorf("stream %s takes messages of %d bytes (-1: any), but RAW can carry %d: set its max_msg_size to that", names.StreamIn(), have, most)
	}
	return nil
}

// provisional errors of the bus pass by themselves: NATS is away, still
// starting, or another process has not made the streams yet.
func provisional(err error) bool {
	for _, target := range []error{
		bus.ErrNotProvisioned, context.DeadlineExceeded, nats.ErrTimeout, nats.ErrNoResponders, nats.ErrDisconnected,
		nats.ErrConnectionReconnecting, nats.ErrReconnectBufExceeded, nats.ErrNoServers, jetstream.ErrNoStreamResponse,
		jetstream.ErrJetStreamNotEnabled, jetstream.ErrStreamNotFound, // the other process is in the middle of it
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	api, ok := errors.AsType[jetstream.JetStreamError](err)
	return ok && api.APIError() != nil && api.APIError().Code == 503
}
