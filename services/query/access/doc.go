// Package access says who asks and what they may: every request gets a [Key] at the door, and whatever answers it looks
// at the key in the request's context.
//
//	Ring.Find(request) -> Key{name, scopes, sources, quota} -> With(ctx) ... From(ctx), Need, Key.Take
//
// Where keys come from: --api-keys (everything is allowed), the file of --access-file (names, scopes, sources, quotas; it
// is read again when it changes), and the write keys of sources, of --write-keys and, if they may, of the bucket of sources
// (libs/bus/sources), which send the asks of their own source's users and nothing else: who has a web page has its write key.
// A key works for as long as its source is not disabled.
// A port on loopback without any API key lets everybody ask everything.
//
// Invariants: a context without a key is allowed nothing; only digests of keys are kept; a file that cannot be read
// changes nothing.
package access
