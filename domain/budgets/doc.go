// Package budgets is the context of how much may be spent in a month or a quarter: by the tenant, a department, an agent or
// an API key.
//
// A budget has two thresholds, in percent of it: from the first on it warns, at the second it blocks, so that no call begins
// that might lead beyond it. Stream budget-<uuid5 of level and subject> holds what was decided about one budget, and the uuid
// is the budget's id. What has been spent is no event of this context: the ledger says so.
//
// A period is a month or a quarter of the tenant's calendar: it begins with the first moment of its first day where the
// tenant is. A call counts to the period in which it began, however long it takes.
package budgets
