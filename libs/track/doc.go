// Package track sends events to Millrace over NATS.
//
//	Track, Identify, ... -> JSON -> queue -> one NATS message of many events -> JetStream's acknowledgement
//
// A call encodes its event, puts it into a bounded queue in memory and returns.
// It never waits for the network and never panics: not on a nil [Client], after
// Close, while NATS is away, or with properties that are no JSON.
//
// Every event ends exactly once: JetStream has acknowledged it, and then it is
// in ClickHouse once, or among the dead letters with a reason; or [OnError] has
// been called with it. An attempt that was cut is repeated under the same
// Nats-Msg-Id, and each event has a messageId from the start, so that a repeat
// is known as one. Events that still wait in memory die with the process: end
// with [Client.Close].
//
// The package needs nats.go and nothing else. docs/track.md in the repository
// has all options, the rights that the NATS user needs, and measured speed.
package track
