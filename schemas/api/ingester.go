package api

import _ "embed"

// Ingester is openapi-ingester.yaml: the HTTP door with all its answers
// (OpenAPI 3.1).
//
//go:embed openapi-ingester.yaml
var Ingester []byte
