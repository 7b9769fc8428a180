package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Why a shard is stuck: the closed set of the metrics' label, of the notes in
// the bucket of leases and of status. docs/operations.md says what to do.
const (
	StuckNATS       = "nats"                // JetStream does not answer
	StuckFull       = "stream_full"         // a stream takes no more
	StuckAway       = "clickhouse_away"     // ClickHouse does not answer
	StuckReadOnly   = "clickhouse_readonly" // the table or the disk is read-only
	StuckParts      = "clickhouse_parts"    // TOO_MANY_PARTS: merges do not keep up
	StuckMemory     = "clickhouse_memory"   // a memory limit
	StuckDisk       = "clickhouse_disk"     // no space
	StuckSetup      = "clickhouse_setup"    // tables, rights or password are wrong
	StuckBusy       = "clickhouse_busy"     // it refuses for another reason that passes
	StuckWentBack   = "went_back"           // logs, ledger and table disagree
	StuckCodec      = "newer_codec"         // a frame of a newer build
	StuckDamaged    = "damaged_frame"       // a frame that cannot be read
	StuckDoubled    = "doubled_rows"        // more rows than were sent
	StuckTakeover   = "takeover"            // the owner is taking over
	StuckNoOwner    = "no_owner"            // no process works on it
	StuckNoProgress = "no_progress"         // it stands still and nobody says why
	StuckOther      = "other"
)

// StuckReasons are all of them.
func StuckReasons() []string {
	return []string{
		StuckNATS, StuckFull, StuckAway, StuckReadOnly, StuckParts, StuckMemory, StuckDisk, StuckSetup, StuckBusy,
		StuckWentBack, StuckCodec, StuckDamaged, StuckDoubled, StuckTakeover, StuckNoOwner, StuckNoProgress, StuckOther,
	}
}

// Why is what a service says of a shard with which it cannot get on. It lies in
// the bucket of leases, so that others can say it too.
type Why struct {
	Lane   int       `json:"shard"`
	Reason string    `json:"reason,omitempty"` // "" takes back what was said
	Why    string    `json:"why,omitempty"`
	Since  time.Time `json:"since,omitzero"`
	Shut   bool      `json:"shut,omitempty"`
}

const (
	// What is said is said again after sayAgain while it holds, so that what a
	// process said before it died is known by its silence.
	sayAgain = 2 * time.Second
	sayEvery = 500 * time.Millisecond
	// maxWhyText bounds the words: errors may quote what they are about.
	maxWhyText = 1000
)

// subjectWhy is the key under which a service says why a shard is stuck, as the
// subject behind it: whoever says it needs no right to read the bucket.
func (n Names) subjectWhy(service string, shard int) string {
	return "$KV." + n.BucketLeases() + "." + service + ".why." + strconv.Itoa(shard)
}

// TellWhy keeps saying what stuck lists, and takes back what it no longer does,
// until ctx is done. While NATS is away nobody can be told; that is seen by
// others themselves.
func TellWhy(ctx context.Context, js jetstream.JetStream, names Names, service string, stuck func() []Why) error {
	type saying struct {
		text string
		at   time.Time
	}
	said := map[int]saying{}
	say := func(w Why) error {
		if len(w.Why) > maxWhyText {
			w.Why = w.Why[:maxWhyText]
		}
		body, err := json.Marshal(w)
		if err != nil {
			return fmt.Errorf("encode why shard %d is stuck: %w", w.Lane, err)
		}
		if before, ok := said[w.Lane]; ok && before.text == string(body) && time.Since(before.at) < sayAgain {
			return nil
		}
		call, cancel := context.WithTimeout(ctx, sayAgain)
		defer cancel()
		// Not repeated by the client: the next tick does it.
		if _, err := js.PublishMsg(call, &nats.Msg{Subject: names.subjectWhy(service, w.Lane), Data: body}, jetstream.WithRetryAttempts(0)); err != nil {
			return fmt.Errorf("say why shard %d is stuck: %w", w.Lane, err)
		}
		said[w.Lane] = saying{string(body), time.Now()}
		return nil
	}
	tick := time.NewTicker(sayEvery)
	defer tick.Stop()
	pause, until := sayEvery, time.Time{}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if time.Now().Before(until) {
			continue
		}
		var errs []error
		now := map[int]bool{}
		for _, w := range stuck() {
			now[w.Lane] = true
			if errs = append(errs, say(w)); errs[len(errs)-1] != nil {
				break
			}
		}
		for lane := range said {
			if now[lane] || errors.Join(errs...) != nil {
				continue
			}
			if errs = append(errs, say(Why{Lane: lane})); errs[len(errs)-1] == nil {
				delete(said, lane)
			}
		}
		if errors.Join(errs...) == nil {
			pause = sayEvery
			continue
		}
		pause = min(2*pause, sayAgain)
		until = time.Now().Add(pause)
	}
}
