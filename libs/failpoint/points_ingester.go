package failpoint

// Points of the ingester.
const (
	// A frame's publication to RAW; after it the acknowledgement is to come.
	IngesterPublishBefore Name = "ingester.publish.before"
	IngesterPublishAfter  Name = "ingester.publish.after"
	// RAW has acknowledged a frame; before and after its senders are told.
	IngesterAckBefore Name = "ingester.ack.before"
	IngesterAckAfter  Name = "ingester.ack.after"
	// The answer 200 to a request.
	IngesterAnswerBefore Name = "ingester.answer.before"
	IngesterAnswerAfter  Name = "ingester.answer.after"
	// The acknowledgement of a message of IN whose events are in RAW.
	IngesterInAckBefore Name = "ingester.in_ack.before"
	IngesterInAckAfter  Name = "ingester.in_ack.after"
	// The purge of what is acknowledged from IN.
	IngesterInPurgeBefore Name = "ingester.in_purge.before"
	IngesterInPurgeAfter  Name = "ingester.in_purge.after"
)

// IngesterPoints are those of the ingester.
func IngesterPoints() []Name {
	return []Name{
		IngesterPublishBefore, IngesterPublishAfter, IngesterAckBefore, IngesterAckAfter,
		IngesterAnswerBefore, IngesterAnswerAfter, IngesterInAckBefore, IngesterInAckAfter,
		IngesterInPurgeBefore, IngesterInPurgeAfter,
	}
}
