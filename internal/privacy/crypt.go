package privacy

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"

	"github.com/google/uuid"
)

const (
	context1      = "archon.subject.v1"
	infoEncrypt   = context1 + ".enc"
	infoCommit    = context1 + ".commit"
	contextEnding = "\x00"
)

var (
	// ErrTampered says that an envelope was changed, was moved from another tenant, or was not made with the key that
	// its key id names now.
	ErrTampered = errors.New("envelope does not open with its key")
	// ErrTooLarge says that a plaintext is larger than [MaxPlaintextBytes].
	ErrTooLarge = errors.New("too much personal data for one envelope")
)

// subjectKey is a subject's key, ready for use. It is immutable.
type subjectKey struct {
	id         uuid.UUID
	aead       cipher.AEAD
	commitment [commitmentBytes]byte
}

func newSubjectKey(id uuid.UUID, secret []byte) (*subjectKey, error) {
	if len(secret) != keyBytes {
		return nil, fmt.Errorf("derive subject key: it has %d bytes, not %d", len(secret), keyBytes)
	}

	encrypt, err := hkdf.Key(sha256.New, secret, nil, infoEncrypt, keyBytes)
	if err != nil {
		return nil, fmt.Errorf("derive subject key: %w", err)
	}

	commit, err := hkdf.Key(sha256.New, secret, nil, infoCommit, commitmentBytes)
	if err != nil {
		return nil, fmt.Errorf("derive subject key: %w", err)
	}

	block, err := aes.NewCipher(encrypt)
	if err != nil {
		return nil, fmt.Errorf("derive subject key: %w", err)
	}

	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("derive subject key: %w", err)
	}

	return &subjectKey{id: id, aead: aead, commitment: [commitmentBytes]byte(commit)}, nil
}

// seal encrypts with a fresh nonce.
func (k *subjectKey) seal(tenant string, plaintext []byte) (Envelope, error) {
	if len(plaintext) > MaxPlaintextBytes {
		return Envelope{}, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(plaintext))
	}

	var nonce [nonceBytes]byte

	_, _ = rand.Read(nonce[:]) // never fails: the program would have ended

	return k.sealWith(nonce, tenant, plaintext), nil
}

// sealWith must never see a nonce twice for the same key: it would give away both plaintexts.
func (k *subjectKey) sealWith(nonce [nonceBytes]byte, tenant string, plaintext []byte) Envelope {
	return Envelope{
		KeyID:      k.id,
		Commitment: k.commitment,
		Nonce:      nonce,
		Ciphertext: k.aead.Seal(nil, nonce[:], plaintext, additionalData(tenant, k.id)),
	}
}

func (k *subjectKey) open(tenant string, envelope Envelope) ([]byte, error) {
	if subtle.ConstantTimeCompare(k.commitment[:], envelope.Commitment[:]) != 1 {
		return nil, fmt.Errorf("%w: it commits to another one", ErrTampered)
	}

	plaintext, err := k.aead.Open(nil, envelope.Nonce[:], envelope.Ciphertext, additionalData(tenant, envelope.KeyID))
	if err != nil {
		return nil, ErrTampered
	}

	return plaintext, nil
}

func additionalData(tenant string, id uuid.UUID) []byte {
	name := id.String()
	data := make([]byte, 0, len(context1)+len(contextEnding)+len(tenant)+len(contextEnding)+len(name))
	data = append(data, context1+contextEnding...)
	data = append(data, tenant...)
	data = append(data, contextEnding...)

	return append(data, name...)
}
