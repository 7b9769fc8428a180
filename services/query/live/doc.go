// Package live shows events as they happen, and numbers as they change:
//
//	ENRICHED -> tail -> GET /v1/live                  server-sent events, filtered here
//	                \-> millrace.live.<source>        core NATS, one query service at a time, while somebody listens
//	watermark -> GET /v1/live/sql                     a question again and again, each time over the rows that are new
//
// A reader has a position: how far it is in every shard. It is the id of each event, so that a reader that comes back with
// Last-Event-ID goes on behind the last event it got: nothing twice, nothing missing, as long as the log holds it, and
// else it is told what is missing. Nothing waits for a reader and nothing is kept for it: the tail is read at each reader's
// own pace, and what the tail no longer has comes from the log. A reader that has been at the end and cannot keep up is
// told so and let go.
//
// Invariants: a reader sees the events of its key's sources only; a shard's events come in the order of the log; the
// memory of a reader is one chunk of output, however slow it is; a filter costs a reader a quarter of a core
// at most, whatever it is.
//
// Guarantee: of server-sent events, each event that matches exactly once between two positions. Of NATS, what core NATS
// gives: who listens gets it, at most once; while two query services change places an event may come twice.
package live
