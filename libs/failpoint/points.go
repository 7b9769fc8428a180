package failpoint

import "slices"

// Name is a point: <service>.<step>.<before|after>.
type Name string

// Names are all points, in the order in which an event meets them. Release
// binaries do not hold them, because nothing in a service calls this.
func Names() []Name {
	return slices.Concat(IngesterPoints(), EnricherPoints(), IndexerPoints())
}

// CanFail says whether a point takes the action error.
func CanFail(name Name) bool {
	switch name {
	case IngesterPublishBefore, IngesterPublishAfter,
		EnricherPublishBefore, EnricherPublishAfter, EnricherLetterBefore, EnricherLetterAfter,
		EnricherLetterSendBefore, EnricherLetterSendAfter, IndexerConfirmBefore, IndexerConfirmAfter,
		IndexerListBefore, IndexerListAfter, IndexerProbeBefore, IndexerProbeAfter,
		IndexerLedgerBefore, IndexerLedgerAfter, IndexerInsertBefore, IndexerInsertAfter,
		IndexerCountBefore, IndexerCountAfter, IndexerBuryBefore, IndexerBuryAfter,
		IndexerDeadInsertBefore, IndexerDeadInsertAfter:
		return true
	}
	return false
}
