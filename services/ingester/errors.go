package ingester

import "errors"

// What can keep events from being stored. All of them pass or are mended by
// an operator, so the sender is told to come again; nothing of these is about
// the events.
var (
	// errShardFull: the shard's stream has no room, or so little that the
	// rest is kept for what is already under way.
	errShardFull = errors.New("the log of a shard is full; it is trimmed as events reach ClickHouse")
	// errNoAck: the hold time ended before JetStream had acknowledged. The
	// events may be stored or not.
	errNoAck = errors.New("NATS did not acknowledge in time; send the same request again")
	// errShardClosed: the shard's log went back, so that its sequences would
	// be given twice. Only `millrace recover` opens it again.
	errShardClosed = errors.New("a shard is closed because its log went back; an operator has to run `millrace recover`")
	// errBusy: the memory for requests under way is used up.
	errBusy = errors.New("too many bytes are in flight")
	// errRefusals: a source sends more bad events than dead letters are kept for.
	errRefusals = errors.New("too many refused events from this source")
	// errNotAdmitted: the hook of the configuration said no.
	errNotAdmitted = errors.New("nothing is admitted for now")
	// errStarting: the streams have not been found yet.
	errStarting = errors.New("the ingester is starting and has not reached NATS yet")
	// errMapping: a dialect's mapper panicked. It would again, so the body becomes a dead letter.
	errMapping = errors.New("the body could not be read as what its path says")
	// errDraining: the process is about to end.
	errDraining = errors.New("the ingester is stopping")
)
