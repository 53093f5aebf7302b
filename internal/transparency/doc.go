// Package transparency signs the logs of tenants: checkpoints that say how long a log is and what is in it, in C2SP's formats,
// so that whoever keeps one can prove later that the log was rewritten.
//
// Its one invariant: of one origin nothing is ever signed that contradicts what was signed before. What was signed last stands
// outside of PostgreSQL, in the secret store (the guard, moved by check-and-set), and each new checkpoint is proven to continue
// it before it is signed. A database that was restored, failed over, cut or rewritten therefore gets no signature, on any node:
// [Refusal].
//
//	signer := &transparency.Signer{Log: store, Secrets: secrets, Deployment: "archon-eu", Logger: log}
//	signed, err := signer.Checkpoint(ctx, "acme")   // signed.Note is the signed note
//	key, err := signer.Key(ctx, "acme")             // what verifies it
//
// In the secret store, below "tenants/<tenant>/audit/":
//
//	key     seed                   the Ed25519 private key's 32 bytes, in base64
//	guard   incarnation size root  what was signed last
package transparency
