// Package privacy encrypts personal data under a key per data subject, before it is hashed into a chain whose bytes can
// never be rewritten. Destroying the key erases the data in every event, copy and backup of the log at once, and leaves
// the hashes intact. Keys live in the secret store, never in PostgreSQL.
//
// Its one invariant: an [Envelope] opens to one plaintext under one key or not at all. AES-GCM alone does not commit to
// its key (one ciphertext can be made that opens to different texts under different keys), so each envelope carries a
// commitment to the key, which is checked before anything is decrypted.
//
//	keeper := privacy.NewKeeper(store)
//	sealed, err := keeper.SealClient(ctx, tenant, actorID, privacy.Client{IP: ip, UserAgent: agent})
//	…                                     // sealed goes into the event's meta as JSON
//	client, err := keeper.OpenClient(ctx, tenant, sealed)
//	if errors.Is(err, privacy.ErrErased) { … } // show "erased"
//
// # Envelope, version 1
//
// An envelope is the JSON object
//
//	{"v":1,"kid":"<key id>","kc":"<commitment>","n":"<nonce>","ct":"<ciphertext>"}
//
// with exactly these members in this order; white space between tokens is the only freedom that a reader grants. kid is
// a UUID in lower case; kc, n and ct are base64url without padding (RFC 4648, section 5; unused bits are zero).
//
// For a subject's key K (32 random bytes), with HKDF as in RFC 5869 over SHA-256, no salt, 32 bytes of output:
//
//	enc = HKDF(K, info "archon.subject.v1.enc")
//	kc  = HKDF(K, info "archon.subject.v1.commit")
//	n   = 12 random bytes
//	ct  = AES-256-GCM(enc, nonce n, additional data A, plaintext), the 16-byte tag at its end
//	A   = "archon.subject.v1" 0x00 tenant_id 0x00 kid      (kid as the 36 characters of its text)
//
// To open: compare kc with that of the key, in constant time; then decrypt with the tenant and kid that the envelope
// was found with. Any difference is [ErrTampered]. The additional data keeps an envelope from being moved to another
// tenant or key; which event it belongs to is what the event's hash says.
//
// Nonces are random: one key should not seal more than 2^32 envelopes (a subject that writes 100 events a second gets
// there after 16 months; erase it, or accept odds of 2^-32 of a repeated nonce).
//
// Plaintext is anything up to [MaxPlaintextBytes]. For the client of a request it is the JSON of [Client].
// testdata/envelope-v1.json holds test vectors, made by the second implementation beside it (envelope-v1.py).
//
// # Keys and their erasure
//
// kid = UUIDv5(namespace 6f0a3c52-5d0b-4c4e-9b7a-2f1f0f5b8a71, tenant_id 0x00 generation 0x00 subject), generation in
// decimal from 0. The key is at tenants/{tenant}/subjects/{kid} in the secret store, made by the first who needs it with
// a check-and-set on "not there", so all nodes agree on one.
//
// [Keeper.Erase] writes a tombstone as the path's next version and then destroys the key's version. What was sealed
// before opens no more ([ErrErased]); what the subject does later gets a key of the next generation, with another kid,
// so that the one can never be taken for the other. A path must not be removed as a whole: generation 0 would come back
// under the old kid, and old envelopes would read as tampered.
//
// # How soon an erasure is noticed
//
// A [Keeper] remembers keys for [Config.KeyTTL] (one minute), so another node may open old envelopes for that long, and
// seal new ones that nobody can open afterwards. While the secret store is away, Seal goes on with a remembered key for
// [Config.StaleTTL] (writes stay possible, and a destroyed key's envelopes are merely unreadable); Open never does.
package privacy
