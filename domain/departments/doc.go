// Package departments is the context of whose account calls are on: a department has an id for ever, and a name that may change.
//
// Streams: department-<id>, and departmentname-<uuid5 of the folded name>, which makes a name unique in a tenant whatever
// its case. Creating and renaming append to both at once, so two can't have one name. A department is never deleted: calls
// of the past are on its account.
package departments
