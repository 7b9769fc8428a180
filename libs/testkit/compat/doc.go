// Package compat holds no code, only a test: SDKs that were written for other
// systems, at pinned versions, send to a real Millrace, and what they sent is
// found in ClickHouse field by field.
//
//	SDK (Go in this process; Node, see node/; Chromium) -> HTTP door -> NATS -> ClickHouse
//
// First each SDK makes every call that it has. Then all send at once, for as
// long as it takes to stop NATS for 20 seconds and to stall its network after
// that, and every event must be there once.
//
// It is a module of its own, so that the SDKs reach nobody's go.sum. It needs
// node_modules and Chromium, which scripts/install-compat installs. The
// services are built and run as processes; Go does not see when they change,
// so run it with -count=1, as scripts/test does in effect.
package compat
