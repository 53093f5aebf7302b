// Package gateway speaks to model providers: the nine provider types, what each
// needs to be reached, and how each answers.
//
// Its one invariant: nothing that a provider says and nothing that went wrong on
// the way leaves this package as text without having passed [Redact], so a
// credential never shows in an error, a log line or an event.
//
// A newcomer reads [Target] first, then wire.go (where requests go), models.go
// and message.go (how answers are read), and [Tester], which puts them together.
package gateway
