package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrRecovering says that `millrace recover` has begun to move the streams and
// has not come to its end: nothing may be read or written until it has.
var ErrRecovering = errors.New("bus: a recovery is not finished: run `millrace recover --apply` again, which goes on where it ended")

// Recovered says what was found when a shard was carried over to a new
// incarnation. What it counts is in the totals of the record's proof.
type Recovered struct {
	Shard int `json:"shard"`
	// From is the incarnation before, 0 when nothing knew it.
	From uint64 `json:"from"`
	// Before is what the ledger had proven, Highest the highest number that
	// was found anywhere. All up to the record's Proven is never given again.
	Before  uint64 `json:"before"`
	Highest uint64 `json:"highest"`
	// Lost counts events that were proven and are gone for good.
	Lost uint64 `json:"lost,omitempty"`
	// Again counts events that lay in RAW without a row and were appended once
	// more; they count as accepted when they are proven.
	Again uint64 `json:"again,omitempty"`
	// Unknown counts frames of which nothing was found: their numbers were
	// given, and how many events they held nobody can tell. UnknownFirst and
	// UnknownLast enclose them.
	Unknown      uint64 `json:"unknown,omitempty"`
	UnknownFirst uint64 `json:"unknown_first,omitempty"`
	UnknownLast  uint64 `json:"unknown_last,omitempty"`
}

// Life is an earlier life of IN: messages up to Last that still wait get their
// ids from it, so that one that RAW has already is a repeat; later sequences
// are given anew and get theirs from a newer life, so that they never collide.
type Life struct{ Incarnation, Last uint64 }

// InLife is the incarnation from which the events of a message of IN get their
// ids.
func (i *Installation) InLife(seq uint64) uint64 {
	if i.Lives == "" {
		return i.Incarnation
	}
	lives, _ := parseLives(i.Lives) // they were checked when they were read
	for _, l := range lives {
		if seq <= l.Last {
			return l.Incarnation
		}
	}
	return i.Incarnation
}

// keptLives is how many earlier lives are remembered. Messages wait in IN for
// seconds.
const keptLives = 4

// Reborn is the installation in a new incarnation. IN ends at lastIn: what
// waits there keeps its life.
func (i Installation) Reborn(incarnation, lastIn uint64) Installation {
	old, _ := parseLives(i.Lives) // they were checked when they were read
	var lives []Life
	for _, l := range old { // those whose messages were cut away are over
		if l.Last < lastIn {
			lives = append(lives, l)
			continue
		}
		lives = append(lives, Life{l.Incarnation, lastIn})
		break
	}
	if n := len(lives); n == 0 || lives[n-1].Last < lastIn {
		lives = append(lives, Life{i.Incarnation, lastIn})
	}
	lives = slices.DeleteFunc(lives, func(l Life) bool { return l.Last == 0 || l.Incarnation == 0 })
	i.Lives = formatLives(lives[max(0, len(lives)-keptLives):])
	i.Incarnation = incarnation
	return i
}

func formatLives(lives []Life) string {
	var parts []string
	for _, l := range lives {
		parts = append(parts, fmt.Sprintf("%d:%d", l.Incarnation, l.Last))
	}
	return strings.Join(parts, ",")
}

func parseLives(text string) (lives []Life, err error) {
	for part := range strings.SplitSeq(text, ",") {
		if part == "" {
			continue
		}
		var l Life
		if _, err := fmt.Sscanf(part, "%d:%d", &l.Incarnation, &l.Last); err != nil {
			return nil, fmt.Errorf("%q: want incarnation:sequence: %w", part, err)
		}
		lives = append(lives, l)
	}
	return lives, nil
}

// Described is what a stream's metadata says of its installation; ok is false
// when it says nothing that can be used. It looks past an unfinished recovery,
// which to tells; 0 for none.
func Described(names Names, cfg jetstream.StreamConfig) (inst Installation, to uint64, ok bool) {
	inst.Names = names
	if err := inst.readMetadata(cfg); err != nil {
		return Installation{Names: names}, 0, false
	}
	to, _ = strconv.ParseUint(cfg.Metadata[metaRecovering], 10, 64) // 0 for none
	return inst, to, true
}

// Shut marks the streams as being moved, so that no service opens them: every
// service asks RAW_0 first. And it takes RAW's subjects away, so that one that
// has them open cannot append either; see [Names.Recovering]. A RAW_0 that is
// missing is made.
func Shut(ctx context.Context, js jetstream.JetStream, inst Installation, plan Plan) error {
	// RAW_0 first: who finds it shut does not look at the others.
	for shard := range inst.Shards {
		name := inst.Names.StreamRaw(shard)
		s, err := js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			if shard == 0 {
				err = createShut(ctx, js, inst, shard, plan)
			} else {
				err = nil // Complete makes it
			}
			if err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("look up stream %s: %w", name, err)
		}
		cfg := s.CachedInfo().Config
		shut(&cfg, inst, shard)
		if _, err := js.UpdateStream(ctx, cfg); err != nil {
			return fmt.Errorf("shut stream %s: %w", name, err)
		}
	}
	return nil
}

// shut changes the configuration of a shard's RAW.
func shut(cfg *jetstream.StreamConfig, inst Installation, shard int) {
	cfg.Subjects = []string{inst.Names.Recovering(shard)}
	if shard > 0 {
		return
	}
	cfg.Metadata = maps.Clone(cfg.Metadata)
	if cfg.Metadata == nil {
		cfg.Metadata = map[string]string{}
	}
	cfg.Metadata[metaRecovering] = strconv.FormatUint(max(inst.Incarnation, 1), 10) // 0 would say that there is no mark
}

func createShut(ctx context.Context, js jetstream.JetStream, inst Installation, shard int, plan Plan) error {
	cfg, err := configOf(&inst, "raw.json", shard, plan)
	if err != nil {
		return err
	}
	shut(&cfg, inst, shard)
	if _, err := js.CreateStream(ctx, cfg); err != nil {
		return fmt.Errorf("create stream %s: %w", cfg.Name, err)
	}
	return nil
}

// Unshut undoes [Shut] when nothing is to be moved.
func Unshut(ctx context.Context, js jetstream.JetStream, inst Installation) error {
	for shard := inst.Shards - 1; shard >= 0; shard-- {
		name := inst.Names.StreamRaw(shard)
		s, err := js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("look up stream %s: %w", name, err)
		}
		cfg := s.CachedInfo().Config
		cfg.Subjects = []string{inst.Names.Raw(shard)}
		cfg.Metadata = maps.Clone(cfg.Metadata)
		delete(cfg.Metadata, metaRecovering)
		if _, err := js.UpdateStream(ctx, cfg); err != nil {
			return fmt.Errorf("open stream %s again: %w", name, err)
		}
	}
	return nil
}

// Complete creates the streams that are missing of an installation that is
// shut, RAW_0 excepted, and names the others after its incarnation.
func Complete(ctx context.Context, js jetstream.JetStream, inst Installation, plan Plan) error {
	if err := rename(ctx, js, inst, false); err != nil {
		return err
	}
	for shard := 1; shard < inst.Shards; shard++ {
		_, err := js.Stream(ctx, inst.Names.StreamRaw(shard))
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			err = createShut(ctx, js, inst, shard, plan)
		}
		if err != nil {
			return err
		}
	}
	if err := ensureAll(ctx, js, &inst, plan); err != nil {
		return err
	}
	return Shut(ctx, js, inst, plan) // a stream that was resized has its subject back
}

// Reopen lets the services in again.
func Reopen(ctx context.Context, js jetstream.JetStream, inst Installation) error {
	return rename(ctx, js, inst, true)
}

// rename writes the installation's metadata into every stream that exists,
// RAW_0 last, which keeps its mark unless open is set.
func rename(ctx context.Context, js jetstream.JetStream, inst Installation, open bool) error {
	n := inst.Names
	list := []string{n.StreamIn(), n.StreamLedger(), n.StreamDead()}
	subjects := map[string]string{} // of RAW
	for shard := range inst.Shards {
		list = append(list, n.StreamEnriched(shard), n.StreamRaw(shard))
		subjects[n.StreamRaw(shard)] = n.Raw(shard)
	}
	slices.SortStableFunc(list, func(a, b string) int {
		last := func(s string) int {
			if s == n.StreamRaw(0) {
				return 1
			}
			return 0
		}
		return last(a) - last(b)
	})
	for _, name := range list {
		s, err := js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) && !open {
			continue
		}
		if err != nil {
			return fmt.Errorf("look up stream %s: %w", name, err)
		}
		cfg := s.CachedInfo().Config
		want := maps.Clone(cfg.Metadata)
		if want == nil {
			want = map[string]string{}
		}
		want[metaShards], want[metaSinks] = strconv.Itoa(inst.Shards), strconv.Itoa(inst.Sinks)
		want[metaIncarnation] = strconv.FormatUint(inst.Incarnation, 10)
		delete(want, metaLives)
		if inst.Lives != "" {
			want[metaLives] = inst.Lives
		}
		reach := cfg.Subjects
		if open {
			delete(want, metaRecovering)
			if subject, ok := subjects[name]; ok {
				reach = []string{subject}
			}
		}
		if maps.Equal(want, cfg.Metadata) && slices.Equal(reach, cfg.Subjects) {
			continue
		}
		cfg.Metadata, cfg.Subjects = want, reach
		if _, err := js.UpdateStream(ctx, cfg); err != nil {
			return fmt.Errorf("name stream %s after incarnation %d: %w", name, inst.Incarnation, err)
		}
	}
	return nil
}
