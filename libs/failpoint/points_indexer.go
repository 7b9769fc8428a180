package failpoint

// Points of the indexer.
const (
	// The record by which an owner takes a sink over.
	IndexerTakeoverBefore Name = "indexer.takeover.before"
	IndexerTakeoverAfter  Name = "indexer.takeover.after"
	// The second reading of the block that was open.
	IndexerRereadBefore Name = "indexer.reread.before"
	IndexerRereadAfter  Name = "indexer.reread.after"
	// The intent of a new block.
	IndexerIntentBefore Name = "indexer.intent.before"
	IndexerIntentAfter  Name = "indexer.intent.after"
	// Any record of the ledger, where the append itself may fail.
	IndexerLedgerBefore Name = "indexer.ledger.before"
	IndexerLedgerAfter  Name = "indexer.ledger.after"
	// The insert of a block, or of what is missing of it.
	IndexerInsertBefore Name = "indexer.insert.before"
	IndexerInsertAfter  Name = "indexer.insert.after"
	// The look at the ledger after a pause, before an insert.
	IndexerConfirmBefore Name = "indexer.confirm.before"
	IndexerConfirmAfter  Name = "indexer.confirm.after"
	// The count of a block's rows after doubt.
	IndexerCountBefore Name = "indexer.count.before"
	IndexerCountAfter  Name = "indexer.count.after"
	// The question which rows of a block are there, when some are.
	IndexerListBefore Name = "indexer.list.before"
	IndexerListAfter  Name = "indexer.list.after"
	// The further attempt at a block whose token is known without its rows.
	IndexerAttemptBefore Name = "indexer.attempt.before"
	IndexerAttemptAfter  Name = "indexer.attempt.after"
	// Each question whether ClickHouse takes certain rows, after it refused them
	// with others.
	IndexerProbeBefore Name = "indexer.probe.before"
	IndexerProbeAfter  Name = "indexer.probe.after"
	// The record that leaves refused rows out of the block.
	IndexerExcludeBefore Name = "indexer.exclude.before"
	IndexerExcludeAfter  Name = "indexer.exclude.after"
	// The dead letter of a refused row.
	IndexerBuryBefore Name = "indexer.bury.before"
	IndexerBuryAfter  Name = "indexer.bury.after"
	// The record that all is proven, when no block follows.
	IndexerProvenBefore Name = "indexer.proven.before"
	IndexerProvenAfter  Name = "indexer.proven.after"
	// The purge of what is proven.
	IndexerTrimEnrichedBefore Name = "indexer.trim_enriched.before"
	IndexerTrimEnrichedAfter  Name = "indexer.trim_enriched.after"
	IndexerTrimRawBefore      Name = "indexer.trim_raw.before"
	IndexerTrimRawAfter       Name = "indexer.trim_raw.after"
	// Dead letters on their way into ClickHouse.
	IndexerDeadInsertBefore Name = "indexer.dead_insert.before"
	IndexerDeadInsertAfter  Name = "indexer.dead_insert.after"
	IndexerDeadAckBefore    Name = "indexer.dead_ack.before"
	IndexerDeadAckAfter     Name = "indexer.dead_ack.after"
	// The purge of dead letters that are in ClickHouse.
	IndexerTrimDeadBefore Name = "indexer.trim_dead.before"
	IndexerTrimDeadAfter  Name = "indexer.trim_dead.after"
)

// IndexerPoints are those of the indexer.
func IndexerPoints() []Name {
	return []Name{
		IndexerTakeoverBefore, IndexerTakeoverAfter, IndexerRereadBefore, IndexerRereadAfter,
		IndexerIntentBefore, IndexerIntentAfter, IndexerLedgerBefore, IndexerLedgerAfter,
		IndexerInsertBefore, IndexerInsertAfter, IndexerConfirmBefore, IndexerConfirmAfter,
		IndexerCountBefore, IndexerCountAfter, IndexerListBefore, IndexerListAfter,
		IndexerAttemptBefore, IndexerAttemptAfter, IndexerProbeBefore, IndexerProbeAfter,
		IndexerExcludeBefore, IndexerExcludeAfter, IndexerBuryBefore, IndexerBuryAfter,
		IndexerProvenBefore, IndexerProvenAfter, IndexerTrimEnrichedBefore, IndexerTrimEnrichedAfter,
		IndexerTrimRawBefore, IndexerTrimRawAfter, IndexerDeadInsertBefore, IndexerDeadInsertAfter,
		IndexerDeadAckBefore, IndexerDeadAckAfter, IndexerTrimDeadBefore, IndexerTrimDeadAfter,
	}
}
