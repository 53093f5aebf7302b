// Package secretstest tests implementations of secrets.Store: [Run] is the behaviour that all of them share, [FakeVault]
// is a server that speaks the HTTP of HashiCorp Vault's KV version 2, with every fault on demand, and [StartVault]
// finds a real Vault where the machine has one.
//
// Its one invariant: what FakeVault answers was taken from Vault's own answers (1.14, and the KV plugin's source), so a
// store that passes Run on it passes Run on Vault; StartVault is there to check that wherever possible.
package secretstest
