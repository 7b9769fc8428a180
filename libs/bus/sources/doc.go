// Package sources says who may send events, from where and how many: the
// sources and their write keys, kept in a KV bucket of NATS.
//
//	millrace source add ─▶ Store ─▶ bucket MILLRACE_SOURCES ─▶ Registry.Run ─▶ ByKey, Find, Take ─▶ doors
//
// A source is one value of the bucket, under its name, and holds all its keys
// (record.go). Whoever changes it does so by compare-and-set (store.go). The
// services watch the bucket (watch.go) and ask what they heard last
// (registry.go), together with the keys of their flags.
//
// Invariants: only digests of keys are stored and kept; a value that cannot be
// read changes nothing, as does a NATS that is away; a disabled source has no
// key that works, those of flags included; of two sources with one key the
// older has it.
//
// Guarantee: while NATS answers, a change works everywhere within a second.
package sources
