// Package breaker keeps calls away from a provider that fails, for all nodes together.
//
// A breaker belongs to a tenant and a provider. It is closed; it opens at FailureThreshold failures within [Window];
// when the cooldown is over it is half-open and lets HalfOpenMax probes through; it closes when all of them have
// succeeded and opens again on the first that fails. Two more reasons keep calls away, whatever the state: the provider
// has said until when it takes none ([RateLimited]), and its credential is dead ([DeadCredential]), which lasts until
// [Breakers.Reset] or until one of the probes that are let through every [DeadRetry] succeeds, so that an account that
// was topped up heals. Only failures of the provider count; a success while closed changes nothing, and takes nothing.
//
// The invariant: a result counts only in the state in which its call was admitted. Each change of state has a higher
// generation, also after Redis lost everything, and a result of another generation is dropped.
//
// The rules exist twice: in the Lua script that Redis runs, with its own clock, and in machine, which takes over while
// Redis is away; a test holds one against the other.
//
// How many calls are wasted on a provider that fails: one caller after the other, FailureThreshold, and at most one more
// for each other node that has not yet heard of the opening. Concurrent callers: besides, the calls that were on their
// way when it opened; on other nodes, those admitted in the milliseconds until the message of the opening arrives, or,
// should that be lost, until the node's first failure comes back or the entry, which is a second old by then, has been asked
// for again beside a call.
package breaker
