// Package httpx is Archon's HTTP layer: the server, the middleware that every operation of api/openapi.yaml passes, the
// one mapping of errors to answers, paging, health and the documentation page.
//
// Its invariant: a handler sees only requests of an authenticated caller with the operation's role, within the limits and
// valid by the OpenAPI document; and no answer, log line or metric of this package holds a value that the client sent.
//
// A request passes, in this order: correlation and request id, span, access log and metrics, rendering of errors, recovery
// from panics, security headers; then, on the operations of the document: authentication, recording of refused writes,
// authorisation by x-archon-role, the body limit, repetition of a write under its Idempotency-Key, Accept, Content-Type and
// headers, strict JSON, the schema, and for reads the wait for X-Min-Position.
//
// Handlers implement api.StrictServerInterface. They find what this package has learnt of the request with [From], refuse
// by returning an error (see [FromError]) and answer writes with an [Answer].
package httpx
