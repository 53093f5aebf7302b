// Package limits holds rates of requests and tokens per minute, for all nodes together.
//
// A limit of n per minute lets no more than n through in any 60 seconds, wherever they begin, and n at once after a
// minute of rest. Time is cut into slots of 250 ms; what is taken counts until 60 s after the end of its slot, so in full
// load a limit gives away up to 0.4 % (240 slots of 241). A token bucket (GCRA) was not chosen, since one that lets a
// burst of n through lets almost 2n through in the minute after it.
//
// [Limiter.Take] takes from several limits, all or none, in one round trip; all keys of a tenant are of one hash slot.
// The invariant: RetryAfter is honest. If nobody else takes meanwhile, the same call is let through after it.
//
// While Redis is away each node holds the limits by itself, starting from what it knows to have taken, so that the nodes
// together may let through as many times the limit as there are nodes: [Limiter.Degraded].
package limits
