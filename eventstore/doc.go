// Package eventstore keeps one append-only, hash-chained log of events a tenant in PostgreSQL.
//
// # Terms
//
// An event belongs to a stream, in which its version counts from 1, and to the chain of its tenant, in which its
// position counts from 1 without gaps, in commit order. The head is the last position of a chain and its hash. Version 1
// of the hash is defined by [Hash] and [Genesis] and published with vectors in docs/audit-format.md.
//
// # The invariant
//
// The row of a tenant's head is moved by compare-and-set in the statement that inserts the events, so positions are
// gapless and in commit order, and nobody can have committed to the tenant between the moment a writer learned the head
// and the moment its own append lands. Everything else follows from this: expectations that hold against a known head
// hold at commit, a reader that has seen position n has seen everything before it, and a gap means tampering.
//
// # Appending
//
//	result, err := store.Append(ctx, eventstore.Append{
//		Tenant: "acme",
//		Expect: map[string]int64{"provider-0190…": 0},
//		Events: []eventstore.NewEvent{{Stream: "provider-0190…", Type: "provider.registered.v1", Data: data}},
//		Meta:   meta,
//	})
//
// Appends of one tenant are grouped: while one batch is being committed the others wait in a bounded queue, without a
// database connection, and go as the next batch the moment the commit returns. A caller that gives up does not cancel the
// batch it is in.
//
// The package knows no domain: data and meta are bytes to it.
package eventstore
