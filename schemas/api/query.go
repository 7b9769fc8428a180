package api

import _ "embed"

// Query is openapi-query.yaml: questions, status and verify over HTTP (OpenAPI
// 3.1).
//
//go:embed openapi-query.yaml
var Query []byte
