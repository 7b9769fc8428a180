package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// DeadLetter is an event that was refused. Its identity is its place, so
// publishing it again changes nothing: readers count distinct identities.
type DeadLetter struct {
	Incarnation uint64
	Place
	Idx int // of the event in its RAW frame
	// Events is how many events it stands for: more than one only when a
	// whole frame could not be read.
	Events   int
	Source   string
	Stage    string // door, enricher or indexer
	Reason   string // a code of libs/event
	Detail   string
	Received time.Time
	Original []byte
}

// maxDetail bounds the text in a header.
const maxDetail = 1024

// Identity is the text that names the dead letter: incarnation:shard:seq:idx.
func (d *DeadLetter) Identity() string {
	return fmt.Sprintf("%d:%d:%d:%d", d.Incarnation, d.Shard, d.Seq, d.Idx)
}

// Msg is the dead letter as it is published: the body is the original bytes.
// Its message id lets JetStream drop a prompt repeat.
func (d *DeadLetter) Msg(names Names) *nats.Msg {
	msg := nats.NewMsg(names.Dead(d.Shard, d.Stage, d.Reason))
	detail := strings.ToValidUTF8(strings.Join(strings.Fields(d.Detail), " "), "?")
	if len(detail) > maxDetail {
		detail = strings.ToValidUTF8(detail[:maxDetail], "")
	}
	identity := d.Identity()
	for k, v := range map[string]string{
		nats.MsgIdHdr:  identity,
		HeaderIdentity: identity,
		HeaderSource:   d.Source,
		HeaderStage:    d.Stage,
		HeaderReason:   d.Reason,
		HeaderDetail:   detail,
		HeaderReceived: d.Received.UTC().Format(time.RFC3339Nano),
		HeaderEvents:   strconv.Itoa(max(d.Events, 1)),
	} {
		msg.Header.Set(k, v)
	}
	msg.Data = d.Original
	return msg
}

// ParseDeadLetter reads what Msg wrote. Original aliases data.
func ParseDeadLetter(header nats.Header, data []byte) (DeadLetter, error) {
	d := DeadLetter{
		Source: header.Get(HeaderSource), Stage: header.Get(HeaderStage), Reason: header.Get(HeaderReason),
		Detail: header.Get(HeaderDetail), Original: data,
	}
	identity := header.Get(HeaderIdentity)
	if n, err := fmt.Sscanf(identity, "%d:%d:%d:%d", &d.Incarnation, &d.Shard, &d.Seq, &d.Idx); n != 4 {
		return d, fmt.Errorf("dead letter: header %s is %q, want incarnation:shard:seq:idx: %w", HeaderIdentity, identity, err)
	}
	var err error
	if d.Events, err = strconv.Atoi(header.Get(HeaderEvents)); err != nil {
		return d, fmt.Errorf("dead letter %s: header %s: %w", identity, HeaderEvents, err)
	}
	if d.Received, err = time.Parse(time.RFC3339Nano, header.Get(HeaderReceived)); err != nil {
		return d, fmt.Errorf("dead letter %s: header %s: %w", identity, HeaderReceived, err)
	}
	return d, nil
}

// PutDeadOut says that the dead letters of all frames of a shard up to seq are
// in DEAD. It stays true for the life of the streams, whoever said it.
func PutDeadOut(ctx context.Context, kv jetstream.KeyValue, inst Installation, shard int, seq uint64) error {
	text := strconv.FormatUint(inst.Incarnation, 10) + ":" + strconv.FormatUint(seq, 10)
	if _, err := kv.Put(ctx, inst.Names.KeyDeadOut(shard), []byte(text)); err != nil {
		return fmt.Errorf("say how far dead letters are out: %w", err)
	}
	return nil
}

// DeadOut is what was said last, 0 for nothing.
func DeadOut(ctx context.Context, kv jetstream.KeyValue, inst Installation, shard int) (uint64, error) {
	entry, err := kv.Get(ctx, inst.Names.KeyDeadOut(shard))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look how far dead letters are out: %w", err)
	}
	var incarnation, seq uint64
	if _, err := fmt.Sscanf(string(entry.Value()), "%d:%d", &incarnation, &seq); err != nil {
		return 0, fmt.Errorf("key %s holds %q, want incarnation:sequence: %w", entry.Key(), entry.Value(), err)
	}
	if incarnation != inst.Incarnation {
		return 0, nil
	}
	return seq, nil
}
