// Package api holds the contracts that clients program against: OpenAPI of the HTTP services, AsyncAPI of the NATS subjects.
// It has no logic; tests of the services and of libs/testkit/contracts prove that the documents say what the code does.
package api

import _ "embed"

// AsyncAPI is asyncapi.yaml: every subject, what its messages hold and how the frames are read (AsyncAPI 3.0).
//
//go:embed asyncapi.yaml
var AsyncAPI []byte
