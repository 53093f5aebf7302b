// Package routing is the context of where calls go: the rules and the fallback chain that administrators write, and the
// decision that follows from them.
//
// Its one invariant: a decision depends on its [Input] and the prices it looks up, and on nothing else. No clock, no
// randomness but the one draw that comes in, no order of a map, no sum of floats. What it rested on is kept with the call
// as a [Record], from which the same decision can be made again, bit for bit.
//
// Two streams belong to a tenant: ruleset-<uuid> and fallback-<uuid>. Their events hold the whole content, so the version
// of the stream is the version of the ruleset, or of the chain.
package routing
