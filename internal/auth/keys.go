package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// acceptedAlgorithms are the only ones by which a token may be signed, whatever its issuer says: all are asymmetric, so
// that nobody who merely knows a public key can sign.
func acceptedAlgorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.EdDSA,
	}
}

// keySource gives the issuer's keys.
type keySource interface {
	// current returns the keys to verify with; it waits for the issuer only where there are none. Errors as of renewed.
	current(ctx context.Context) (*ring, error)
	// renewed returns the keys after the issuer was asked again, unless that was done a moment ago. The error wraps
	// [ErrUnavailable] where it could not be reached, or the end of ctx.
	renewed(ctx context.Context) (*ring, error)
	// check wraps [ErrUnavailable] while the keys can't be read.
	check(ctx context.Context) error
}

// ring is what an issuer's signatures are verified with. It never changes.
type ring struct {
	algorithms []jose.SignatureAlgorithm
	keys       []jose.JSONWebKey
	loadedAt   time.Time
}

// newRing leaves out keys that are not for signatures, too weak, or not public.
func newRing(algorithms []jose.SignatureAlgorithm, published []jose.JSONWebKey, loadedAt time.Time) *ring {
	keys := make([]jose.JSONWebKey, 0, len(published))

	for _, key := range published {
		if isUsable(key) {
			keys = append(keys, key)
		}
	}

	return &ring{algorithms: algorithms, keys: keys, loadedAt: loadedAt}
}

// minRSABits is what NIST and RFC 7518 ask of RSA keys at the least.
const minRSABits = 2048

func isUsable(key jose.JSONWebKey) bool {
	if key.Use != "" && key.Use != "sig" {
		return false
	}

	switch public := key.Key.(type) {
	case *rsa.PublicKey:
		return public.N.BitLen() >= minRSABits
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	default:
		// Symmetric keys and private ones that were published by mistake.
		return false
	}
}

// verify returns the payload if one of the keys made the signature; reason says why none did.
func (r *ring) verify(jws *jose.JSONWebSignature) (payload []byte, reason string) {
	header := jws.Signatures[0].Protected
	if !slices.Contains(r.algorithms, jose.SignatureAlgorithm(header.Algorithm)) {
		return nil, reasonAlgorithm
	}

	reason = reasonUnknownKey

	for _, key := range r.keys {
		// A token without a key id may be by any of the keys.
		if header.KeyID != "" && header.KeyID != key.KeyID {
			continue
		}

		reason = reasonSignature

		if key.Algorithm != "" && key.Algorithm != header.Algorithm {
			continue
		}

		if payload, err := jws.Verify(key.Key); err == nil {
			return payload, ""
		}
	}

	return nil, reason
}

// LocalIssuer is an issuer in this process.
type LocalIssuer interface {
	// URL is the `iss` of its tokens.
	URL() string
	// Keys are the public keys that it signs and has signed with.
	Keys() []jose.JSONWebKey
}

// localKeys reads the keys of an issuer in this process, which is cheap enough to do for every token.
type localKeys struct {
	issuer LocalIssuer
	now    func() time.Time
}

var _ keySource = localKeys{}

func (l localKeys) current(context.Context) (*ring, error) {
	return newRing(acceptedAlgorithms(), l.issuer.Keys(), l.now()), nil
}

func (l localKeys) renewed(ctx context.Context) (*ring, error) { return l.current(ctx) }

func (l localKeys) check(context.Context) error { return nil }
