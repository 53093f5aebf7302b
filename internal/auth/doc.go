// Package auth turns a bearer token into a [Principal]: who calls, for which tenant, with which roles.
//
// Its invariant: a Principal comes only from a token whose signature was checked with a key of the configured issuer
// by an asymmetric algorithm, and whose issuer, audience, times, subject and tenant were all checked after that.
// Nothing of a token is ever in an error.
//
// [NewVerifier] is for a remote issuer such as Keycloak. It may be away when Archon starts; until its keys were read
// once, [Verifier.Verify] returns [ErrUnavailable]. [NewEmbeddedVerifier] is for the issuer in this process.
package auth
