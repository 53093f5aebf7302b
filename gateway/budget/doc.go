// Package budget holds spending below its limits: reserve the most that a call can cost before it, settle what it did
// cost after it.
//
// A call is reserved on several levels (its key, its department, its tenant) in one atomic step, or on none. The
// invariant: at each level that blocks, what was truly spent and what calls on their way have reserved never exceed the
// limit together, and the counters are never lower than that. What a call costs is at most what was reserved for it,
// which the caller sees to by bounding the call.
//
// Redis holds counters, and the ledger is right: a counter that is missing is set from the ledger, never added to. A
// settlement says at which position of the log its call is recorded, so that a call which the ledger's sum contains
// already is not counted twice. A reservation that nobody settles within [Hold] counts in full from then on, and is
// struck off only by the ledger: when a level is exhausted that has such ones, the ledger is asked again. A call must not
// take longer than Hold: one that still ran when it was struck off would be counted only when it settles.
//
// What a lost Redis costs: reservations that were open at that moment are not held any more until they are settled, so
// that a limit can be exceeded by what was on its way then.
//
// Amounts are whole nano-USD. Lua counts in doubles, exact up to 2^53 nano-USD = 9,007,199 USD, which [MaxAmount] is; in
// the ledger's 10^-10 USD it would be a tenth. Amounts of the ledger are rounded up ([FromE10]), so that a counter
// is too high by less than a nano-USD a call.
package budget
