package webhook

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

const (
	// secretPrefix begins a secret as it is shown; what follows is base64.
	secretPrefix = "whsec_"
	// Bounds of a secret, in bytes, by the standard; secrets that are made here have madeSecret.
	minSecret, maxSecret, madeSecret = 24, 64, 32
)

// ErrSecret says what a secret must look like; it never quotes one.
var ErrSecret = errors.New("must be whsec_ and 24 to 64 bytes in base64, such as from `openssl rand -base64 32`")

// NewSecret makes a secret.
func NewSecret() (string, error) {
	var random [madeSecret]byte
	if _, err := rand.Read(random[:]); err != nil {
		return "", fmt.Errorf("make a webhook's secret: %w", err)
	}
	return secretPrefix + base64.StdEncoding.EncodeToString(random[:]), nil
}

// ParseSecret is the key of a secret, or [ErrSecret].
func ParseSecret(secret string) ([]byte, error) {
	encoded, found := strings.CutPrefix(secret, secretPrefix)
	key, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if !found || err != nil || len(key) < minSecret || len(key) > maxSecret || strings.ContainsAny(encoded, "\r\n") {
		return nil, ErrSecret
	}
	return key, nil
}
