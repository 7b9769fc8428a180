package bus

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// DefaultPrefix is the first token of every subject and, in upper case, the
// first word of every stream.
const DefaultPrefix = "millrace"

// DefaultShards is the number of shards of a new installation.
const DefaultShards = 4

// DefaultSinks is the number of sinks of a new installation: as one inserts
// for all shards, its blocks are as large as they can be, and one is as much
// as ClickHouse on a small machine takes.
const DefaultSinks = 1

// Names derives every subject, stream and durable of one installation from its
// prefix. Nothing else spells one.
type Names struct{ Prefix string }

// Validate says whether the prefix can be a subject token and a stream name.
func (n Names) Validate() error {
	if n.Prefix == "" || strings.ContainsAny(n.Prefix, ".*> \t$/\\") {
		return fmt.Errorf("nats prefix %q: want one subject token of letters, digits, - and _", n.Prefix)
	}
	return nil
}

func (n Names) subject(tokens ...string) string {
	return n.Prefix + "." + strings.Join(tokens, ".")
}

func (n Names) stream(name string) string { return strings.ToUpper(n.Prefix) + "_" + name }

// In is where clients publish events of a source.
func (n Names) In(source string) string { return n.subject("in", source) }

// Door is where an ingester is asked to store events of a source: request and
// reply on core NATS, for services that wait for the receipt.
func (n Names) Door(source string) string { return n.subject("door", source) }

// DoorAll matches the doors of all sources.
func (n Names) DoorAll() string { return n.subject("door", "*") }

// QueueIngester is the queue group in which ingesters share these requests.
func (n Names) QueueIngester() string { return "ingester" }

// DoorSource is the source in a subject of such a door.
func (n Names) DoorSource(subject string) string {
	return strings.TrimPrefix(subject, n.subject("door", ""))
}

// Raw is the subject of a shard's accepted frames.
func (n Names) Raw(shard int) string { return n.subject("raw", strconv.Itoa(shard)) }

// Enriched is the subject of a shard's enriched frames.
func (n Names) Enriched(shard int) string { return n.subject("enriched", strconv.Itoa(shard)) }

// Ledger is the subject of a sink's ledger records.
func (n Names) Ledger(sink int) string { return n.subject("ledger", strconv.Itoa(sink)) }

// LedgerAll matches the ledger subjects of all sinks.
func (n Names) LedgerAll() string { return n.subject("ledger", "*") }

// Dead is the subject of one dead letter.
func (n Names) Dead(shard int, stage, reason string) string {
	return n.subject("dead", strconv.Itoa(shard), stage, reason)
}

// DeadOf matches the dead letters of a shard that a stage refused ("*": any).
func (n Names) DeadOf(shard int, stage string) string {
	return n.subject("dead", strconv.Itoa(shard), stage, "*")
}

// Live is where events of a source are published as they happen, in no stream.
func (n Names) Live(source string) string { return n.subject("live", source) }

// QueryGroup is the beginning of the subjects of all questions.
func (n Names) QueryGroup() string { return n.subject("query") }

// StreamIn is the stream behind the NATS door.
func (n Names) StreamIn() string { return n.stream("IN") }

// StreamRaw is the stream of a shard's accepted frames.
func (n Names) StreamRaw(shard int) string { return n.stream("RAW_" + strconv.Itoa(shard)) }

// StreamEnriched is the stream of a shard's enriched frames.
func (n Names) StreamEnriched(shard int) string { return n.stream("ENRICHED_" + strconv.Itoa(shard)) }

// StreamLedger is the stream of all ledger records.
func (n Names) StreamLedger() string { return n.stream("LEDGER") }

// StreamDead is the stream of dead letters.
func (n Names) StreamDead() string { return n.stream("DEAD") }

// StreamRecovery is where `millrace recover` keeps its decisions, and copies of
// what it moves while it moves it.
func (n Names) StreamRecovery() string { return n.stream("RECOVERY") }

// RecoveryAll matches all subjects of that stream.
func (n Names) RecoveryAll() string { return n.subject("recovery", ">") }

// RecoveryPlan is the subject of the decisions.
func (n Names) RecoveryPlan() string { return n.subject("recovery", "plan") }

// RecoveryIDs is the subject of the frames with which a shard's RAW begins
// afterwards: ids that the enricher must know, and no events.
func (n Names) RecoveryIDs(shard int) string {
	return n.subject("recovery", "ids", strconv.Itoa(shard))
}

// RecoveryEvents is the subject of the frames that follow them.
func (n Names) RecoveryEvents(shard int) string {
	return n.subject("recovery", "events", strconv.Itoa(shard))
}

// Recovering is the subject of a shard's RAW while it is moved: nobody else
// knows it, so nobody else can append.
func (n Names) Recovering(shard int) string { return n.subject("recovering", strconv.Itoa(shard)) }

// BucketLeases is the KV bucket of the leases.
func (n Names) BucketLeases() string { return n.stream("LEASES") }

// BucketSources is the KV bucket of the sources and their write keys; see
// package sources.
func (n Names) BucketSources() string { return n.stream("SOURCES") }

// streamLeases is the stream behind that bucket, and leaseKeys matches the
// subjects of its keys of one kind, member or shard, of all services.
func (n Names) streamLeases() string { return "KV_" + n.BucketLeases() }

func (n Names) leaseKeys(kind string) string { return "$KV." + n.BucketLeases() + ".*." + kind + ".*" }

// KeyCrash is the key in that bucket under which a shard's enricher notes the
// frame it began with, so that its successor can tell whether it died there.
func (n Names) KeyCrash(shard int) string { return "enricher.crash." + strconv.Itoa(shard) }

// KeyDeadOut is the key in that bucket under which a shard's enricher says how
// far the dead letters are out, when no frame comes that could say it.
func (n Names) KeyDeadOut(shard int) string { return "enricher.dead_out." + strconv.Itoa(shard) }

// DurableIngester is the consumer through which ingesters share IN.
func (n Names) DurableIngester() string { return "ingester" }

// DurableDeadLetters is the consumer that brings DEAD into ClickHouse.
func (n Names) DurableDeadLetters() string { return "dead-letters" }

// SourceOf is the source in a subject of the NATS door.
func (n Names) SourceOf(subject string) string {
	return strings.TrimPrefix(subject, n.subject("in", ""))
}

// ValidSource says whether a name can be a source: it is a token of subjects.
func ValidSource(name string) error {
	if name == "" || len(name) > 64 {
		return fmt.Errorf("source %q: want 1 to 64 letters, digits, - and _", name)
	}
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' {
			return fmt.Errorf("source %q: %q is not a letter, digit, - or _", name, r)
		}
	}
	return nil
}

// IncarnationOf is the incarnation that a stream was created in, 0 when it
// names none.
func IncarnationOf(cfg jetstream.StreamConfig) uint64 {
	n, err := strconv.ParseUint(cfg.Metadata[metaIncarnation], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// Headers of frames and dead letters. Values are text.
const (
	HeaderCodec      = "Millrace-Codec"      // RAW, ENRICHED: frame.Codec
	HeaderEvents     = "Millrace-Events"     // RAW: number of events
	HeaderFrame      = "Millrace-Frame"      // RAW: random id of the frame
	HeaderVerdict    = "Millrace-Verdict"    // ENRICHED: frame.Verdict as JSON
	HeaderCheckpoint = "Millrace-Checkpoint" // ENRICHED: frame.Checkpoint as JSON

	// Of requests to the ingester's door over core NATS, and of its reply.
	HeaderClientIP  = "Millrace-Client-IP"  // whose event it is
	HeaderUserAgent = "Millrace-User-Agent" // of that client
	HeaderStatus    = "Millrace-Status"     // reply: what HTTP would answer

	// Of dead letters; deadletter.go reads and writes them.
	HeaderIdentity = "Millrace-Identity" // incarnation:shard:seq:idx
	HeaderSource   = "Millrace-Source"
	HeaderStage    = "Millrace-Stage"
	HeaderReason   = "Millrace-Reason"
	HeaderDetail   = "Millrace-Detail"   // one line
	HeaderReceived = "Millrace-Received" // RFC 3339 with nanoseconds, RAW's timestamp
)
