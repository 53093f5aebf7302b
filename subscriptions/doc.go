// Package subscriptions serves /ws/events: every event of a tenant that a subscriber's filters let through, in the order of
// the log, from any position into the live tail, each once.
//
// The invariant is that a socket's position only moves forward over events that it has sent or that its filters leave out.
// Whatever ends a socket, its position says where to go on, and the log is where everything comes from: nothing that is
// kept here is needed to be right.
//
// One tailer a tenant and node reads the log once and hands what it reads to the sockets that are at its end ([hub]). It is
// woken by appends of this node, and over Redis by those of others; polling finds what a lost wake-up would have told. A
// socket that is behind (it began in the past, or did not take what was handed to it) reads for itself, in small
// batches, until it has reached the end. To join the tailer without a gap it first asks to be handed whatever comes after
// the tailer's position, then reads up to that position, and then takes what was handed to it.
//
// A client that takes nothing is cut with 4008 and its position. Its connection's send buffer in the kernel is kept
// smaller than it could be, and enlarged for the farewell: so it gets to know, however late it reads.
package subscriptions
