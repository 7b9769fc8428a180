// Package asks holds nothing but tests: they prove the guarantee of POST /v1/ask and GET /v1/users/{id} on a whole mill, which
// is real servers and all four services.
//
//	what was sent (person_test.go) -> what must be answered (model_test.go) == what is answered (asks_test.go)
//
// The model is a walk over a plain list of what was sent and acknowledged. It knows nothing of shards, frames, watermarks or
// caches, so it cannot be wrong together with them.
package asks
