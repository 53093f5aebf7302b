// Package bench measures the event store beside the plainest way to do the same in PostgreSQL, for `archon bench`.
//
// A ratio means something only within one run: the invariant is that all variants of a bench run in turn, round after round,
// on the same server and in the same scratch database, which is made for the run and dropped after it, so that no measured
// event ever enters a real log. Every figure is the median of the rounds.
package bench
