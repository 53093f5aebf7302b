// Package readapi is the read side: SQL over the read tables, and the handlers that answer with it.
//
// A read table is a contract between the projector that fills it and the queries here; neither imports the other. The
// invariant: nothing here writes, and every query runs with its tenant set, so that row-level security stands behind each
// where clause. Raw events come from the event store alone.
package readapi
