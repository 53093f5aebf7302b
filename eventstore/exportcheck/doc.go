// Package exportcheck verifies an export of a log offline: without Archon, without its database, with nothing but the file, the
// public key and, where there are any, older checkpoints.
//
// It reads the file once, as a stream, and its memory does not grow with it: a line, the roots of at most 63 subtrees, and a bounded memory
// of which version each stream is at. The format is docs/audit-format.md's; docs/examples/verify_chain.py is a second implementation of
// the same judgement, and both have to agree.
//
//	report, err := exportcheck.Verify(file, exportcheck.Options{Keys: []string{vkey}, Since: []string{oldNote}})
//
// The verdict is about the file. What it says nothing of is in the report too ([Report.NotProven]).
package exportcheck
