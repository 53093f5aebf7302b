// Package alerts is the context of what somebody should look at: raised once, open until it is resolved, and then raised
// anew if it happens again.
//
// Stream alert-<uuid5 of kind and subject> holds all alerts about one thing. Raising expects the version that was seen, so
// that of many who notice the same thing at once one raises the alert and the others find it open.
package alerts
