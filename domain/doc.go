// Package domain holds what all contexts share: events, refusals and the shape of a decider.
//
// Its one invariant, and that of every package below it: no clock, no randomness, no I/O. What happens depends on the
// state and the command alone.
package domain
