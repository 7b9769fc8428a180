package enricher

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/testkit/explore"

	"github.com/millrace/millrace/libs/bus"
)

// Protocols that are wrong must be caught, or the model sees nothing. Each is
// the right one but for one thing.

func TestTheModelCatchesAStreamThatDoesNotFence(t *testing.T) {
	(&scenario{pair: 2, lives: 2, budget: explore.Budget{turn: 2}, variant: variant{unfenced: true}}).caught(t, "ENRICHED has frame 4, RAW ends at 3")
}

// early tells the dead letters of a frame that is only sent.
func early(o *owner, p *parcel) {
	v, c := frame.Verdict{}, frame.Checkpoint{}
	if frame.Decode(p.msg.Header.Get(bus.HeaderVerdict), &v) != nil || frame.Decode(p.msg.Header.Get(bus.HeaderCheckpoint), &c) != nil {
		panic("a frame that was just made cannot be read")
	}
	o.shard.letters.passed(o.shard.next, &v)
}

func TestTheModelCatchesDeadLettersBeforeTheirVerdictIsStored(t *testing.T) {
	(&scenario{pair: 1, lives: 2, budget: explore.Budget{fault: 1}, variant: variant{sent: early}}).caught(t, "before its verdict is stored")
}

func TestTheModelCatchesDeadLettersOfAnotherVerdict(t *testing.T) {
	(&scenario{pair: 2, lives: 2, strict: true, budget: explore.Budget{turn: 3}, variant: variant{sent: early}}).caught(t, "the verdict")
}

// A frame that is taken for acknowledged when it is sent.
func TestTheModelCatchesAnAcknowledgementBeforeTheServers(t *testing.T) {
	ackFirst := func(_ *owner, p *parcel) { p.ok <- &jetstream.PubAck{} }
	(&scenario{pair: 1, lives: 2, budget: explore.Budget{fault: 1}, variant: variant{sent: ackFirst}}).caught(t, "before its verdict is stored")
}

func TestTheModelCatchesAWindowThatIsNotReadBack(t *testing.T) {
	(&scenario{pair: 1, lives: 2, budget: explore.Budget{fault: 1}, variant: variant{forgetful: true}}).caught(t, "does not answer RAW")
}
