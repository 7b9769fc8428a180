package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/failpoint"
	"github.com/millrace/millrace/schemas/streams"
)

// Sizes are the byte limits of the streams; RAW and ENRICHED are a shard's.
type Sizes struct{ In, Raw, Enriched, Dead int64 }

// Total is what all streams of an installation may take on disk.
func (s Sizes) Total(shards int) int64 {
	return s.In + s.Dead + int64(shards)*(s.Raw+s.Enriched)
}

// Plan is what an installation is created with. Shards and Sinks cannot be
// changed later.
type Plan struct {
	Shards int
	// Sinks is at most Shards; 0: what exists, or DefaultSinks.
	Sinks    int
	Replicas int
	Sizes    Sizes
	// MaxIn bounds one message of the NATS door: what a request may have.
	MaxIn int32
}

// Installation is what the streams say about themselves.
type Installation struct {
	Names  Names
	Shards int
	// Sinks is the number of lanes through which rows go into ClickHouse, each
	// for a fixed set of shards.
	Sinks int
	// Incarnation names the life of the streams, in every token and derived id.
	Incarnation uint64
	// Lives are the earlier lives of IN, whose messages may still wait, as
	// text, so that installations can be compared; see [Installation.InLife].
	Lives string
}

// SinkOf is the sink that inserts the rows of a shard.
func (i Installation) SinkOf(shard int) int { return shard % i.Sinks }

// ShardsOf lists the shards of a sink in ascending order.
func (i Installation) ShardsOf(sink int) []int {
	var shards []int
	for shard := sink; shard < i.Shards; shard += i.Sinks {
		shards = append(shards, shard)
	}
	return shards
}

const (
	metaShards      = "millrace-shards"
	metaSinks       = "millrace-sinks"
	metaIncarnation = "millrace-incarnation"
	metaLives       = "millrace-in-lives"   // of IN; see Life
	metaRecovering  = "millrace-recovering" // on RAW_0, while streams are moved
)

// ErrNotProvisioned says that the streams do not exist yet.
var ErrNotProvisioned = errors.New("bus: the streams do not exist; run `millrace migrate`, or start a service that may create them")

// Provision creates what is missing and changes sizes; what exists keeps its
// shards, its sinks and its incarnation. It may run in several processes at once.
func Provision(ctx context.Context, js jetstream.JetStream, names Names, plan Plan) (Installation, error) {
	if plan.Shards == 0 {
		plan.Shards = DefaultShards
	}
	if s := plan.Sizes; min(s.In, s.Raw, s.Enriched, s.Dead) <= 0 || plan.MaxIn <= 0 {
		return Installation{}, fmt.Errorf("sizes %+v, largest message %d: every stream needs a limit in bytes", plan.Sizes, plan.MaxIn)
	}
	inst, err := Open(ctx, js, names)
	if plan.Sinks == 0 {
		plan.Sinks = max(inst.Sinks, DefaultSinks)
	}
	switch {
	case plan.Sinks < 1 || plan.Sinks > plan.Shards:
		return Installation{}, fmt.Errorf("%d sinks for %d shards: want 1 to as many as there are shards", plan.Sinks, plan.Shards)
	case errors.Is(err, ErrNotProvisioned):
		inst = Installation{Names: names, Shards: plan.Shards, Sinks: plan.Sinks, Incarnation: uint64(failpoint.Now().UnixMilli())}
	case err != nil:
		return Installation{}, err
	case inst.Shards != plan.Shards:
		return Installation{}, fmt.Errorf("this installation has %d shards and cannot be given %d: shards are fixed for the life of the streams", inst.Shards, plan.Shards)
	case inst.Sinks != plan.Sinks:
		return Installation{}, fmt.Errorf("this installation has %d sinks and cannot be given %d: sinks are fixed for the life of the streams", inst.Sinks, plan.Sinks)
	}
	if err := ensureAll(ctx, js, &inst, plan); err != nil {
		return Installation{}, err
	}
	return inst, nil
}

// ensureAll creates what is missing of an installation.
func ensureAll(ctx context.Context, js jetstream.JetStream, inst *Installation, plan Plan) error {
	// RAW_0 first: who creates it decides shards, sinks and incarnation for all.
	for shard := range inst.Shards {
		for _, file := range []string{"raw.json", "enriched.json"} {
			if err := ensure(ctx, js, inst, file, shard, plan); err != nil {
				return err
			}
		}
	}
	for _, file := range []string{"in.json", "ledger.json", "dead.json"} {
		if err := ensure(ctx, js, inst, file, 0, plan); err != nil {
			return err
		}
	}
	names := inst.Names
	_, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: names.BucketLeases(), Description: "who works on which shard", History: 1, Replicas: max(plan.Replicas, 1),
		TTL: time.Hour, // what instances that are long gone left behind
	})
	if err != nil {
		return fmt.Errorf("create bucket %s: %w", names.BucketLeases(), err)
	}
	if err := ensureSources(ctx, js, names, plan); err != nil {
		return err
	}
	return ensureConsumers(ctx, js, names)
}

// ensureSources creates the bucket of the sources. It outlives the streams: a
// new incarnation has the same sources.
func ensureSources(ctx context.Context, js jetstream.JetStream, names Names, plan Plan) error {
	_, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: names.BucketSources(), Description: "sources and the digests of their write keys",
		History: 5, MaxValueSize: 256 << 10, Replicas: max(plan.Replicas, 1),
	})
	if err != nil {
		return fmt.Errorf("create bucket %s: %w", names.BucketSources(), err)
	}
	return nil
}

// ForgetLeases removes all leases, for when everybody who held one is known to
// be dead. What is known of deaths at a frame stays.
func ForgetLeases(ctx context.Context, js jetstream.JetStream, names Names) error {
	bucket, err := js.Stream(ctx, names.streamLeases())
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look up bucket %s: %w", names.BucketLeases(), err)
	}
	for _, kind := range []string{"member", "shard"} {
		if err := bucket.Purge(ctx, jetstream.WithPurgeSubject(names.leaseKeys(kind))); err != nil {
			return fmt.Errorf("remove leases %s: %w", names.leaseKeys(kind), err)
		}
	}
	return nil
}

// Open reads what exists; ErrNotProvisioned when nothing does.
func Open(ctx context.Context, js jetstream.JetStream, names Names) (Installation, error) {
	s, err := js.Stream(ctx, names.StreamRaw(0))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return Installation{}, fmt.Errorf("%w (no stream %s)", ErrNotProvisioned, names.StreamRaw(0))
	}
	if err != nil {
		return Installation{}, fmt.Errorf("look up stream %s: %w", names.StreamRaw(0), err)
	}
	inst := Installation{Names: names}
	cfg := s.CachedInfo().Config
	if to, ok := cfg.Metadata[metaRecovering]; ok {
		return Installation{}, fmt.Errorf("%w (to incarnation %s)", ErrRecovering, to)
	}
	if err := inst.readMetadata(cfg); err != nil {
		return Installation{}, err
	}
	return inst, nil
}

func (i *Installation) readMetadata(cfg jetstream.StreamConfig) (err error) {
	if i.Shards, err = strconv.Atoi(cfg.Metadata[metaShards]); err == nil {
		i.Incarnation, err = strconv.ParseUint(cfg.Metadata[metaIncarnation], 10, 64)
	}
	if err != nil || i.Shards < 1 {
		return fmt.Errorf("stream %s has no metadata %s and %s: it was not made by Millrace", cfg.Name, metaShards, metaIncarnation)
	}
	text, ok := cfg.Metadata[metaSinks]
	if !ok {
		return fmt.Errorf("stream %s has no metadata %s: %w", cfg.Name, metaSinks, ErrOldLedger)
	}
	if i.Sinks, err = strconv.Atoi(text); err != nil || i.Sinks < 1 || i.Sinks > i.Shards {
		return fmt.Errorf("stream %s has metadata %s of %q, want 1 to %d: somebody has changed it", cfg.Name, metaSinks, text, i.Shards)
	}
	i.Lives = cfg.Metadata[metaLives]
	if _, err := parseLives(i.Lives); err != nil {
		return fmt.Errorf("stream %s has metadata %s: %w", cfg.Name, metaLives, err)
	}
	return nil
}

func ensure(ctx context.Context, js jetstream.JetStream, inst *Installation, file string, shard int, plan Plan) error {
	want, err := configOf(inst, file, shard, plan)
	if err != nil {
		return err
	}
	have, err := js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		have, err = js.CreateStream(ctx, want)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // a twin was faster
			have, err = js.Stream(ctx, want.Name)
		}
	}
	if err != nil {
		return fmt.Errorf("create stream %s: %w", want.Name, err)
	}
	cfg := have.CachedInfo().Config
	if file == "raw.json" && shard == 0 {
		shards, sinks := inst.Shards, inst.Sinks
		if err := inst.readMetadata(cfg); err != nil {
			return err
		}
		if inst.Shards != shards || inst.Sinks != sinks {
			return fmt.Errorf("another process has just created %s with %d shards and %d sinks, not %d and %d", want.Name, inst.Shards, inst.Sinks, shards, sinks)
		}
		if want, err = configOf(inst, file, shard, plan); err != nil {
			return err
		}
	}
	if err := sameNature(cfg, want); err != nil {
		return err
	}
	if cfg.MaxBytes == want.MaxBytes && cfg.MaxMsgSize == want.MaxMsgSize && cfg.Replicas == want.Replicas {
		return nil
	}
	want.Metadata = cfg.Metadata
	if _, err := js.UpdateStream(ctx, want); err != nil {
		return fmt.Errorf("resize stream %s to %d bytes: %w", want.Name, want.MaxBytes, err)
	}
	return nil
}

// sameNature refuses a stream that could forget or deny what Millrace needs.
func sameNature(have, want jetstream.StreamConfig) error {
	type nature struct {
		retention jetstream.RetentionPolicy
		discard   jetstream.DiscardPolicy
		age       time.Duration
		noDelete  bool
		noPurge   bool
		direct    bool
	}
	of := func(c jetstream.StreamConfig) nature {
		return nature{c.Retention, c.Discard, c.MaxAge, c.DenyDelete, c.DenyPurge, c.AllowDirect}
	}
	if of(have) != of(want) {
		return fmt.Errorf("stream %s has retention, discard, age or denials %+v, want %+v: change it back, or move its data away and delete it", have.Name, of(have), of(want))
	}
	if inc := have.Metadata[metaIncarnation]; inc != want.Metadata[metaIncarnation] {
		return fmt.Errorf("stream %s is of incarnation %q, its neighbours of %q: a stream was recreated or restored alone; `millrace recover` says what to do", have.Name, inc, want.Metadata[metaIncarnation])
	}
	return nil
}

func configOf(inst *Installation, file string, shard int, plan Plan) (jetstream.StreamConfig, error) {
	var cfg jetstream.StreamConfig
	text, err := streams.Files.ReadFile(file)
	if err == nil {
		err = json.Unmarshal([]byte(strings.ReplaceAll(string(text), "{shard}", strconv.Itoa(shard))), &cfg)
	}
	if err != nil {
		return cfg, fmt.Errorf("stream configuration %s: %w", file, err)
	}
	cfg.Name = inst.Names.stream(cfg.Name)
	for i, s := range cfg.Subjects {
		cfg.Subjects[i] = inst.Names.subject(s)
	}
	cfg.Replicas = max(plan.Replicas, 1)
	cfg.Metadata = map[string]string{}
	maps.Copy(cfg.Metadata, map[string]string{
		metaShards:      strconv.Itoa(inst.Shards),
		metaSinks:       strconv.Itoa(inst.Sinks),
		metaIncarnation: strconv.FormatUint(inst.Incarnation, 10),
	})
	if inst.Lives != "" {
		cfg.Metadata[metaLives] = inst.Lives
	}
	switch file {
	case "raw.json":
		cfg.MaxBytes = plan.Sizes.Raw
	case "enriched.json":
		cfg.MaxBytes = plan.Sizes.Enriched
	case "dead.json":
		cfg.MaxBytes = plan.Sizes.Dead
	case "in.json":
		cfg.MaxBytes, cfg.MaxMsgSize = plan.Sizes.In, plan.MaxIn
	}
	return cfg, nil
}

func ensureConsumers(ctx context.Context, js jetstream.JetStream, names Names) error {
	for stream, cfg := range map[string]jetstream.ConsumerConfig{
		names.StreamIn(): {
			Durable: names.DurableIngester(), AckPolicy: jetstream.AckExplicitPolicy,
			AckWait: 30 * time.Second, MaxDeliver: -1, MaxAckPending: 16_384,
		},
		names.StreamDead(): {
			Durable: names.DurableDeadLetters(), AckPolicy: jetstream.AckExplicitPolicy,
			AckWait: 30 * time.Second, MaxDeliver: -1, MaxAckPending: 20_000,
		},
	} {
		if _, err := js.CreateOrUpdateConsumer(ctx, stream, cfg); err != nil {
			return fmt.Errorf("create consumer %s of %s: %w", cfg.Durable, stream, err)
		}
	}
	return nil
}
