// Package api is the machine-readable contract, openapi.yaml, and the Go server generated from it.
//
// The document is the source: api.gen.go is never edited, and whatever the two disagree on is settled in openapi.yaml by
// running `go generate ./api`.
package api

import _ "embed"

//go:generate go tool oapi-codegen -config oapi-codegen.yaml openapi.yaml

//go:embed openapi.yaml
var document []byte

// Document returns the OpenAPI document as it is served. The caller must not change it.
func Document() []byte { return document }
