// Package streams holds the JetStream stream configurations of Millrace, one
// file each. They name what must never change by accident (retention, discard,
// what is denied); libs/bus fills in the prefix, the shard and the sizes, and
// refuses to start over a stream that differs. A subject's first token and a
// name's first word are the prefix of the installation.
package streams

import "embed"

// Files holds raw.json, enriched.json, in.json, ledger.json and dead.json, each
// a JetStream StreamConfig (durations in nanoseconds).
//
//go:embed *.json
var Files embed.FS
