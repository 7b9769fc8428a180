package failpoint

// Points of the enricher.
const (
	// The look at both streams by which an owner begins.
	EnricherTakeoverBefore Name = "enricher.takeover.before"
	EnricherTakeoverAfter  Name = "enricher.takeover.after"
	// A note in the crash log.
	EnricherCrashLogBefore Name = "enricher.crash_log.before"
	EnricherCrashLogAfter  Name = "enricher.crash_log.after"
	// The reading of a frame of RAW; before it none may be there yet.
	EnricherReadBefore Name = "enricher.read.before"
	EnricherReadAfter  Name = "enricher.read.after"
	// A frame's publication to ENRICHED; after it the acknowledgement is to come.
	EnricherPublishBefore Name = "enricher.publish.before"
	EnricherPublishAfter  Name = "enricher.publish.after"
	// ENRICHED has acknowledged a frame; before and after that is taken in.
	EnricherAckBefore Name = "enricher.ack.before"
	EnricherAckAfter  Name = "enricher.ack.after"
	// Finding out what became of frames whose acknowledgement failed.
	EnricherSettleBefore Name = "enricher.settle.before"
	EnricherSettleAfter  Name = "enricher.settle.after"
	// The dead letters of a frame: before the first is published, and after
	// all are acknowledged.
	EnricherLetterBefore Name = "enricher.letter.before"
	EnricherLetterAfter  Name = "enricher.letter.after"
	// Each dead letter's publication.
	EnricherLetterSendBefore Name = "enricher.letter_send.before"
	EnricherLetterSendAfter  Name = "enricher.letter_send.after"
	// The note of how far dead letters are out.
	EnricherDeadOutBefore Name = "enricher.dead_out.before"
	EnricherDeadOutAfter  Name = "enricher.dead_out.after"
)

// EnricherPoints are those of the enricher.
func EnricherPoints() []Name {
	return []Name{
		EnricherTakeoverBefore, EnricherTakeoverAfter, EnricherCrashLogBefore, EnricherCrashLogAfter,
		EnricherReadBefore, EnricherReadAfter, EnricherPublishBefore, EnricherPublishAfter,
		EnricherAckBefore, EnricherAckAfter, EnricherSettleBefore, EnricherSettleAfter,
		EnricherLetterBefore, EnricherLetterAfter, EnricherLetterSendBefore, EnricherLetterSendAfter,
		EnricherDeadOutBefore, EnricherDeadOutAfter,
	}
}
