// Package reactions is what happens in the outside world because of events: events → jobs → work → a command.
//
// A reaction is a projector whose table is the job queue: it enqueues in the transaction that moves its checkpoint, so each
// event asks for its job exactly once, and a rebuild never runs it again. Jobs go through watermill's router: the poison
// queue outermost, then retry with backoff, recovery from panics, correlation id, tracing. The invariant: work is done at
// least once, and ends in a command whose id derives from the job, so that doing it twice changes nothing.
//
// # Why the subscriber is our own
//
// watermill-sql v4.0.0's queue subscriber selects up to SubscribeBatchSize rows FOR UPDATE and keeps the transaction open
// while the handlers run. When it is closed, or an acknowledgement times out, after some of the batch, its offsets adapter
// acknowledges params.Rows, which is the whole batch, so that jobs nobody has handled are lost; and it never looks at
// Rows.Err(), so that a connection that dies while rows are read looks like an empty queue. trap_test.go reproduces the first. A
// batch size of 1 avoids it, but still holds a transaction, a row lock and a connection for as long as a provider or a vault
// may take to answer, and without SKIP LOCKED one slow job blocks its topic on every node. [Subscriber] takes one job at a
// time by lease: a short statement with SKIP LOCKED sets lock_token and locked_until, the lease is renewed while the handler
// works, and whoever still holds the token settles the job. It passes watermill's own pubsub/tests suite. Publishing is
// watermill-sql's Publisher over a schema adapter of ours.
package reactions
