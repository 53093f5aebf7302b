// Package plane is the data plane: it takes a call in OpenAI's format, decides where it goes, tries the providers of the
// plan until one answers, and records what that came to.
//
// Its one invariant: a client that has had the last byte of an answer finds the call in the log, exactly once. The record
// is appended before that byte goes out (see [Config.Async] for the one way to weaken this), so a call that can't be
// recorded is not answered.
//
// A newcomer reads [Plane.Chat] and follows it: configuration ([Directory]), decision (candidates.go), attempts (attempts.go), record
// (record.go). Prompts and answers pass through and are kept nowhere.
package plane
