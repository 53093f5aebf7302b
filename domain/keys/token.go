package keys

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
)

const (
	tokenPrefix = "ak_"
	// SecretBytes is how much randomness is in a secret.
	SecretBytes = 32
	// hintChars is how much of a secret is shown for ever, so that people can tell keys apart. It leaves 232 bits.
	hintChars = 4

	uuidChars      = 36
	secretChars    = 43 // SecretBytes in base64 without padding
	maxTenantChars = 63
	maxTokenChars  = len(tokenPrefix) + maxTenantChars + 1 + uuidChars + 1 + secretChars
)

// secretEncoding is URL-safe, and strict, so that each secret has one spelling.
var secretEncoding = base64.RawURLEncoding.Strict() //nolint:gochecknoglobals // a constant

// Secret is the text of a secret made of random bytes.
func Secret(random [SecretBytes]byte) string { return secretEncoding.EncodeToString(random[:]) }

// Token is the key that is shown to its owner once.
func Token(tenant, id, secret string) string { return tokenPrefix + tenant + "." + id + "." + secret }

// Hint is the end of a secret, by which people tell keys apart.
func Hint(secret string) string { return secret[max(0, len(secret)-hintChars):] }

// Parse takes a key apart. It says false for whatever Token can't have made, without telling apart why: a key that is
// spelt in another way is no key. What it returns proves nothing before the secret was compared.
func Parse(token string) (tenant, id, secret string, ok bool) {
	if len(token) > maxTokenChars || !strings.HasPrefix(token, tokenPrefix) {
		return "", "", "", false
	}
	tenant, rest, _ := strings.Cut(token[len(tokenPrefix):], ".")
	id, secret, _ = strings.Cut(rest, ".")
	if !isTenant(tenant) || !isID(id) || !isSecret(secret) {
		return "", "", "", false
	}
	return tenant, id, secret, true
}

// isTenant is the contract's ^[a-z0-9][a-z0-9_-]{0,62}$. There is no dot in it, which is what makes keys unambiguous.
func isTenant(text string) bool {
	return text != "" && len(text) <= maxTenantChars && text[0] != '_' && text[0] != '-' &&
		strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789_-") == ""
}

// isID takes the one spelling that ids are made in: other spellings of a UUID would be other keys to a cache.
func isID(text string) bool {
	if len(text) != uuidChars {
		return false
	}
	id, err := uuid.Parse(text)
	return err == nil && id.String() == text
}

func isSecret(text string) bool {
	if len(text) != secretChars {
		return false
	}
	decoded, err := secretEncoding.DecodeString(text)
	return err == nil && len(decoded) == SecretBytes
}

// Digest is the SHA-256 of a secret; as text it is in hex.
type Digest [sha256.Size]byte

// Hash is what is stored of a secret.
func Hash(secret string) Digest { return sha256.Sum256([]byte(secret)) }

// MarshalText implements encoding.TextMarshaler.
func (d Digest) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, d[:]), nil }

var errDigest = errors.New("a secret's hash is 64 hex digits")

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(d)) {
		return errDigest
	}
	if _, err := hex.Decode(d[:], text); err != nil {
		return fmt.Errorf("%w: %w", errDigest, err)
	}
	return nil
}
