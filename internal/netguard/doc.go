// Package netguard makes HTTP calls to addresses that users chose (a provider's
// base URL, a connector's endpoint) without letting them reach what only this
// server can reach: itself, its private network, a cloud's metadata service.
//
// Its one invariant: no connection is opened to an address that
// [Policy.CheckAddr] refuses. The check happens on the address that is dialled,
// after name resolution and for every redirect, so a name that resolves
// differently the second time gains nothing. [Policy.CheckURL] is the early,
// friendly form of the same check, for the moment a URL is registered.
package netguard
