// Package projections builds the read tables from the log: the runner, and one file a context with its tables.
//
// # The invariant
//
// A projection's rows and its checkpoint (position, and the hash at that position) change in one transaction, and the
// checkpoint only moves by compare-and-set from the position that the rows were built on. So every event takes effect
// exactly once, whatever crashes, and whoever else runs the same projector.
//
// # How it runs
//
// A [Projector] turns a batch of consecutive events of one tenant into SQL statements; it does no I/O. The [Runner] finds
// (projection, tenant) pairs that are behind, takes the checkpoint's row with FOR UPDATE SKIP LOCKED, reads the next
// events, checks that positions and hash links continue the checkpoint, and sends statements and checkpoint. Any number of
// nodes do so on one database. What wakes it is [Runner.Wake] and, where that gets lost, polling.
//
// # How it catches up
//
// While a batch is written, the next one is read and projected on a second connection. A [Folder] sums events up as they
// come and keeps none, so that its batches may have a quarter of a million of them: rows that a later event of the same
// batch makes obsolete are never written. What is complete before the batch ends is sent on the way, in the same
// transaction. In memory are, for each tenant that is being served, what a batch has come to (32 MB and one read more)
// and the same again of the one that is being written; for other projectors, two reads of Config.MaxBatchBytes.
//
// # What stops it
//
// A projector stops for one tenant, while all else goes on, where it meets
//
//   - a poison event, which can't be decoded or whose statements PostgreSQL refuses: status stalled, until [Runner.Retry];
//   - a chain whose positions or hashes don't continue the checkpoint: status stalled, and an alarm in the log;
//   - an event type, or a version of the projection, that this program does not know: a newer node goes on, this one waits
//     for it.
//
// [Runner.Pause] stops one, too. Nothing is ever skipped. Errors of the database that pass (connections, deadlocks, shutdowns) are retried.
//
// # How it is built anew
//
// A rebuild is the same projector with a checkpoint and tables of its own: its name is rebuild/<name>, and its search path begins
// with the schema rebuild, where [Rebuildable] tables have twins. So locks, batches, faults and resumption are those above. When
// it has caught up, one transaction takes the live checkpoint's lock, projects what has come meanwhile, and replaces the
// tenant's rows, where they differ, and the checkpoint. It does so only where it is not behind the live checkpoint: what a
// reader has seen stays seen. The same brings in a projector whose version was raised.
package projections
