// Package commands is the write side: it turns what callers want into events.
//
// Handling a command is always the same: the impure part first (clock, ids, secrets to the vault, upstream checks), then
// load and fold the streams the decision needs, decide, append with the versions that were seen. The invariant: what is
// decided rests only on streams whose versions are expected in the same append, never on a read table.
//
// One file a context holds its use cases; handler.go holds what they share.
package commands
