package query

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/svc"
)

// The states of a part of the installation.
const (
	StateOK      = "ok"
	StateLagging = "lagging" // it moves, and has been behind for some seconds
	StateStuck   = "stuck"   // there is work and it stands still, or nobody works on it
	StateShut    = "shut"    // it was shut because something contradicts itself
)

// Condition says whether a part of the installation gets on.
type Condition struct {
	State  string    `json:"state"`
	Reason string    `json:"reason,omitempty"` // of the closed set in docs/operations.md
	Why    string    `json:"why,omitempty"`    // in words
	Since  time.Time `json:"since,omitzero"`
}

const (
	lookEvery = time.Second
	// lookCost: with many shards a round takes a while; then they are looked at less often.
	lookCost = 4
	lookLast = 2 * time.Second
	// deafAfter is how long looks must fail before NATS is called away: more than one look, which waits for two seconds
	// for an answer that may be slow.
	deafAfter = 5 * time.Second
)

// sight is what one look at a shard saw.
type sight struct {
	raw, enriched, proven uint64
	enricher, indexer     owner
	said                  []said // the most downstream service first
	missing               string // a stream of it that does not exist
}

// doorSight is what one look at the door saw.
type doorSight struct {
	taken, last uint64        // what ingesters have acknowledged of IN, and its end
	ingesters   int           // that give signs of life
	silent      time.Duration // since the last one of any
	known       bool
	said        []said
	missing     bool // there is no IN
}

// owner is who works on a shard by its lease.
type owner struct {
	known  bool
	name   string        // "" is nobody
	silent time.Duration // since its last sign of life, or since there is nobody
}

// said is what a service says of a shard.
type said struct {
	service string
	bus.Why
}

// stride is how far one stage of a shard is, and since when.
type stride struct {
	have, want uint64
	moved      time.Time // when have last changed, or work came
	// behind is since when goal, which was the end of the work then, has not been reached. Work that comes meanwhile is
	// no delay.
	goal   uint64
	behind time.Time
}

func (p *stride) level(have, want uint64, now time.Time) {
	if have != p.have || p.want <= p.have || p.moved.IsZero() {
		p.moved = now
	}
	if want <= have || have >= p.goal || p.behind.IsZero() {
		p.goal, p.behind = want, now
	}
	p.have, p.want = have, want
}

// left is how much work there is.
func (p *stride) left() uint64 { return p.want - min(p.have, p.want) }

func (p *stride) stands(now time.Time) bool {
	return p.want > p.have && now.Sub(p.moved) >= svc.LanePatience
}

// judge turns looks at one shard into its condition.
type judge struct {
	enriching, indexing, whole stride
	condition                  Condition
}

// hear takes in a look and returns the condition. Its beginning is kept while state and reason stay.
func (j *judge) hear(v sight, now time.Time) Condition {
	j.enriching.level(v.enriched, v.raw, now)
	j.indexing.level(v.proven, v.enriched, now)
	j.whole.level(v.proven, v.raw, now)
	return j.become(j.weigh(v, now), now)
}

// hearDoor does the same of the door.
func (j *judge) hearDoor(v doorSight, now time.Time) Condition {
	j.whole.level(v.taken, v.last, now)
	return j.become(j.weighDoor(v, now), now)
}

func (j *judge) become(c Condition, now time.Time) Condition {
	switch {
	case c.State == StateOK:
		c.Since = time.Time{}
	case c.State == j.condition.State && c.Reason == j.condition.Reason && !j.condition.Since.IsZero():
		c.Since = j.condition.Since
	case c.Since.IsZero():
		c.Since = now
	}
	c.Since = c.Since.UTC()
	j.condition = c
	return c
}

func (j *judge) weigh(v sight, now time.Time) Condition {
	switch {
	case v.missing != "":
		return Condition{State: StateShut, Reason: bus.StuckWentBack, Why: "there is no stream " + v.missing}
	case v.raw < v.enriched:
		return Condition{State: StateShut, Reason: bus.StuckWentBack, Why: fmt.Sprintf("RAW ends at %d, ENRICHED at %d", v.raw, v.enriched)}
	case v.enriched < v.proven:
		return Condition{State: StateShut, Reason: bus.StuckWentBack, Why: fmt.Sprintf("ENRICHED ends at %d, the ledger knows frame %d", v.enriched, v.proven)}
	}
	if c := spoken(v.said); c.State == StateShut {
		return c
	}
	stages := []struct {
		name  string
		owner owner
		stride
		did string
	}{{"indexer", v.indexer, j.indexing, "proven"}, {"enricher", v.enricher, j.enriching, "answered"}}
	// Whoever comes later is waited for by those before it: what these say, such as that a stream is full, comes of it.
	for _, stage := range stages {
		gone := stage.owner.known && stage.owner.silent >= bus.OwnerSilence
		switch {
		case len(v.said) > 0 && v.said[0].service == stage.name:
			return spoken(v.said)
		case gone && stage.owner.name == "":
			return Condition{State: StateStuck, Reason: bus.StuckNoOwner, Why: "no " + stage.name + " works on it"}
		case gone:
			return Condition{State: StateStuck, Reason: bus.StuckNoOwner, Why: fmt.Sprintf(
				"its %s %s gives no sign of life, and no other has taken it", stage.name, stage.owner.name)}
		}
	}
	if len(v.said) > 0 {
		return spoken(v.said)
	}
	for _, stage := range stages {
		if stage.stands(now) {
			return Condition{State: StateStuck, Reason: bus.StuckNoProgress, Since: stage.moved, Why: fmt.Sprintf(
				"its %s has %s no frame after %d although there are frames up to %d", stage.name, stage.did, stage.have, stage.want)}
		}
	}
	if v.raw > v.proven && now.Sub(j.whole.behind) >= svc.LanePatience {
		return Condition{State: StateLagging, Since: j.whole.behind, Why: fmt.Sprintf("%d frames are not proven to be in ClickHouse yet", v.raw-v.proven)}
	}
	return Condition{State: StateOK}
}

func (j *judge) weighDoor(v doorSight, now time.Time) Condition {
	switch {
	case v.missing:
		return Condition{State: StateShut, Reason: bus.StuckWentBack, Why: "there is no stream for the messages of the NATS door"}
	case len(v.said) > 0:
		return spoken(v.said)
	case v.known && v.ingesters == 0 && v.silent >= bus.OwnerSilence:
		return Condition{State: StateStuck, Reason: bus.StuckNoOwner, Why: "no ingester gives a sign of life: nothing comes in"}
	case j.whole.stands(now):
		return Condition{State: StateStuck, Reason: bus.StuckNoProgress, Since: j.whole.moved, Why: fmt.Sprintf(
			"ingesters have acknowledged no message of the NATS door after %d although there are messages up to %d", v.taken, v.last)}
	case v.last > v.taken && now.Sub(j.whole.behind) >= svc.LanePatience:
		return Condition{State: StateLagging, Since: j.whole.behind, Why: fmt.Sprintf("%d messages of the NATS door are not in RAW yet", v.last-v.taken)}
	}
	return Condition{State: StateOK}
}

// spoken puts together what services say. The most downstream one has the reason: those before it wait for it.
func spoken(all []said) Condition {
	if len(all) == 0 {
		return Condition{State: StateOK}
	}
	c := Condition{State: StateStuck, Reason: all[0].Reason, Since: all[0].Since}
	var words []string
	for _, s := range all {
		words = append(words, s.service+": "+s.Why.Why)
		switch s.Reason {
		case bus.StuckWentBack, bus.StuckCodec, bus.StuckDamaged, bus.StuckDoubled:
			if s.Shut && c.State != StateShut {
				c.State, c.Reason, c.Since = StateShut, s.Reason, s.Since
			}
		}
	}
	c.Why = strings.Join(words, "; ")
	return c
}

// look watches the installation until ctx is done, so that what is stuck is known before anybody asks.
func (s *Service) look(ctx context.Context) error {
	var g errgroup.Group
	g.Go(func() error { return s.owners.Run(ctx, s.js, s.names) })
	g.Go(func() error { return s.pulse.run(ctx) })
	defer func() { _ = g.Wait() }() // their only error is ctx's
	for {
		began := time.Now()
		s.lookOnce(ctx, began)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(min(max(lookEvery, lookCost*time.Since(began)), lookLast)):
		}
	}
}

func (s *Service) lookOnce(ctx context.Context, began time.Time) {
	sights, door, err := s.sights(ctx)
	if ctx.Err() != nil {
		return
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	shards := s.inst.Shards
	for len(s.judges) < shards {
		s.judges = append(s.judges, &judge{})
	}
	if err != nil {
		if s.deaf.IsZero() {
			s.deaf = began
		}
		if now.Sub(s.deaf) < deafAfter && s.nats.State == StateOK {
			return
		}
		s.nats = Condition{State: StateStuck, Reason: bus.StuckNATS, Why: err.Error(), Since: s.deaf.UTC()}
		for _, j := range s.judges {
			j.become(Condition{State: StateStuck, Reason: bus.StuckNATS, Why: "NATS does not answer: " + err.Error(), Since: s.deaf}, now)
		}
	} else {
		s.deaf, s.nats, s.seen, s.seenAt = time.Time{}, Condition{State: StateOK}, sights, began
		for shard, v := range sights {
			s.judges[shard].hear(v, now)
		}
		s.door.hearDoor(door, now)
	}
	s.show()
}

// show sets the metrics of the shards; mu is held.
func (s *Service) show() {
	for shard, j := range s.judges {
		id := strconv.Itoa(shard)
		s.metrics.lag.WithLabelValues(id, "enricher").Set(float64(j.enriching.left()))
		s.metrics.lag.WithLabelValues(id, "indexer").Set(float64(j.indexing.left()))
		if c := j.condition; c.State == StateStuck || c.State == StateShut {
			s.lanes.Shut(shard, c.Reason, c.Why)
		} else {
			s.lanes.Open(shard)
		}
	}
}

// showParts registers the metric of the other parts. It is found out when it is asked for, not at the last look.
func (s *Service) showParts(reg prometheus.Registerer) {
	for name, condition := range map[string]func() Condition{
		"nats": s.natsCondition, "clickhouse": s.pulse.condition,
		"door": func() Condition {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.door.condition
		},
	} {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "millrace_query_part_stuck", ConstLabels: prometheus.Labels{"part": name},
			Help: "1 while NATS or ClickHouse does not answer, or there is no ingester, or messages of the NATS door are not taken.",
		}, func() float64 {
			if state := condition().State; state == StateStuck || state == StateShut {
				return 1
			}
			return 0
		}))
	}
}

func (s *Service) natsCondition() Condition {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nats
}

// sights looks at all shards and at the door. An error is NATS's; a stream that does not exist is none.
func (s *Service) sights(ctx context.Context) (all []sight, door doorSight, err error) {
	inst, err := s.installation(ctx)
	if err != nil {
		return nil, door, err
	}
	all = make([]sight, inst.Shards)
	if err := s.followed(); isMissing(err) {
		for shard := range all {
			all[shard].missing = s.names.StreamLedger()
		}
	} else if err != nil {
		return nil, door, err
	}
	g, looking := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for shard := range all {
		g.Go(func() error { return s.sight(looking, inst, shard, &all[shard]) })
	}
	g.Go(func() error { return s.doorSight(looking, &door) })
	err = g.Wait()
	return all, door, err
}

func isMissing(err error) bool { return errors.Is(err, jetstream.ErrStreamNotFound) }

func (s *Service) doorSight(ctx context.Context, v *doorSight) error {
	v.ingesters, v.silent, v.known = s.owners.Members("ingester")
	if w, ok := s.owners.Said("ingester", svc.LaneIn); ok {
		v.said = append(v.said, said{"ingester", w})
	}
	in, err := s.streamInfo(ctx, s.names.StreamIn())
	if isMissing(err) {
		v.missing = true
		return nil
	}
	if err != nil {
		return err
	}
	taken, err := s.takenIn(ctx)
	if err != nil {
		return fmt.Errorf("NATS: %w: look up the consumer of IN: %w", ErrUnavailable, err)
	}
	v.last, v.taken = in.State.LastSeq, min(taken, in.State.LastSeq)
	return nil
}

// sight looks at one shard, from its end to its beginning, so that what moves meanwhile is no contradiction.
func (s *Service) sight(ctx context.Context, inst bus.Installation, shard int, v *sight) error {
	v.proven, _ = s.ledger.proven(shard)
	for _, end := range []struct {
		stream string
		last   *uint64
	}{{s.names.StreamEnriched(shard), &v.enriched}, {s.names.StreamRaw(shard), &v.raw}} {
		info, err := s.streamInfo(ctx, end.stream)
		switch {
		case isMissing(err):
			v.missing = end.stream
		case err != nil:
			return err
		default:
			*end.last = info.State.LastSeq
		}
	}
	v.indexer.name, v.indexer.silent, v.indexer.known = s.owners.Owner("indexer", inst.SinkOf(shard))
	v.enricher.name, v.enricher.silent, v.enricher.known = s.owners.Owner("enricher", shard)
	for _, service := range []string{"indexer", "enricher", "ingester"} {
		if w, ok := s.owners.Said(service, shard); ok {
			v.said = append(v.said, said{service, w})
		}
	}
	return nil
}
