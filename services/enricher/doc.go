// Package enricher answers every frame of RAW with one frame of ENRICHED that
// has the same sequence:
//
//	RAW_<shard> -> enricher -> ENRICHED_<shard>
//	                        -> DEAD   what was refused, and why
//
// It drops repeats, reads the events, adds what can be known (URL parts,
// campaign, user agent, corrected time) and writes the rows as they will lie
// in ClickHouse. The verdict in the frame's header counts every event.
//
// Guarantee: each RAW frame is answered exactly once, whatever is killed,
// paused or started twice. ENRICHED's last sequence is the progress, and every
// publish expects the sequence before its own, so a second writer is refused
// by the server; leases only divide the work. All other state is a function of
// the log: what has been seen is read back from RAW, the checkpoint in the
// last frame says from where. A refused event becomes a dead letter after the
// verdict that names it is acknowledged, so the two cannot contradict.
//
// The files follow the frame: takeover.go, read.go, frame.go (with dedup*.go
// and step_*.go, one file a step), publish.go, deadletters.go; shard.go is the
// loop that holds them together, crash.go what happens to an event that kills
// the process.
package enricher
