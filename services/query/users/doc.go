// Package users answers about one user: who they are, what they have done, and what they are doing now.
//
//	POST /v1/ask       -> the ingester's door -> receipt -> the tail has the frame -> the user's context
//	GET /v1/users/{id} ->                                                             the user's context
//
// A context is a fold over all events of the user: those up to the watermark come from ClickHouse (head.go), those above it
// from the tail. The result is kept (cache.go) and every further frame of the tail is added to it, so that a user who is
// active, or was asked about lately, costs no question to ClickHouse. Users who become active are read ahead (warm.go), many
// in one statement, as far as that takes a fifth of the time.
//
// Whose events they are: those with the user's id; those of anonymous ids that an identify of the user names, as far as they
// have no user id; and those of ids that an alias names as the user's previous ones, and of theirs in turn.
//
// Guarantee: an answer holds every event of the user up to `covers`, each once, and says in `lacks` what it could not look
// into. The event of an ask is always in its answer.
package users
