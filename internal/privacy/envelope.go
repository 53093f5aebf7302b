package privacy

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"
)

const (
	// Version is the version of the envelope's format that this package writes and reads.
	Version = 1
	// MaxPlaintextBytes is the largest plaintext: personal data of one event, not documents.
	MaxPlaintextBytes = 64 << 10

	keyBytes        = 32
	commitmentBytes = 32
	nonceBytes      = 12
	tagBytes        = 16

	// maxEnvelopeBytes is more than the JSON of the largest envelope; a reader looks at nothing longer.
	maxEnvelopeBytes = 2*MaxPlaintextBytes + 1024
)

// ErrMalformed says that some bytes are not an envelope of this version. Stored events hold none such.
var ErrMalformed = errors.New("not an envelope")

// Envelope is personal data encrypted under a subject's key. It holds nothing in the clear but which key that is. The
// zero value is no envelope; a JSON field that may be missing is tagged omitzero.
type Envelope struct {
	// KeyID names the key, within a tenant.
	KeyID uuid.UUID
	// Commitment tells the key from every other key that could open the ciphertext to something else.
	Commitment [commitmentBytes]byte
	// Nonce is unique among the envelopes of one key.
	Nonce [nonceBytes]byte
	// Ciphertext ends with the authentication tag.
	Ciphertext []byte
}

// wire is the JSON form.
type wire struct {
	Version    int    `json:"v"`
	KeyID      string `json:"kid"`
	Commitment string `json:"kc"`
	Nonce      string `json:"n"`
	Ciphertext string `json:"ct"`
}

// IsZero tells whether there is no envelope.
func (e Envelope) IsZero() bool { return len(e.Ciphertext) == 0 }

// AppendJSON appends the envelope's one JSON form to buffer.
func (e Envelope) AppendJSON(buffer []byte) []byte {
	buffer = append(buffer, `{"v":1,"kid":"`...)
	buffer = append(buffer, e.KeyID.String()...)
	buffer = append(buffer, `","kc":"`...)
	buffer = base64.RawURLEncoding.AppendEncode(buffer, e.Commitment[:])
	buffer = append(buffer, `","n":"`...)
	buffer = base64.RawURLEncoding.AppendEncode(buffer, e.Nonce[:])
	buffer = append(buffer, `","ct":"`...)
	buffer = base64.RawURLEncoding.AppendEncode(buffer, e.Ciphertext)

	return append(buffer, `"}`...)
}

// MarshalJSON implements json.Marshaler. The zero value is null.
func (e Envelope) MarshalJSON() ([]byte, error) {
	if e.IsZero() {
		return []byte("null"), nil
	}

	return e.AppendJSON(nil), nil
}

// UnmarshalJSON implements json.Unmarshaler, as strictly as [ParseEnvelope]; null is the zero value.
func (e *Envelope) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*e = Envelope{}

		return nil
	}

	parsed, err := ParseEnvelope(text)
	if err != nil {
		return err
	}

	*e = parsed

	return nil
}

// ParseEnvelope reads an envelope's JSON. It accepts one form only (see the package's documentation), so that two
// readers cannot understand the same bytes differently; anything else is [ErrMalformed].
func ParseEnvelope(text []byte) (Envelope, error) {
	if len(text) > maxEnvelopeBytes {
		return Envelope{}, fmt.Errorf("%w: it is longer than %d bytes", ErrMalformed, maxEnvelopeBytes)
	}

	var fields wire
	if err := json.Unmarshal(text, &fields); err != nil {
		return Envelope{}, fmt.Errorf("%w: it is not a JSON object of five members", ErrMalformed)
	}

	if fields.Version != Version {
		return Envelope{}, fmt.Errorf("%w: its version is %d, not %d", ErrMalformed, fields.Version, Version)
	}

	envelope, err := fields.decode()
	if err != nil {
		return Envelope{}, err
	}

	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		return Envelope{}, fmt.Errorf("%w: it is not JSON", ErrMalformed)
	}

	if !bytes.Equal(compact.Bytes(), envelope.AppendJSON(nil)) {
		return Envelope{}, fmt.Errorf("%w: it is not in its one form", ErrMalformed)
	}

	return envelope, nil
}

func (w wire) decode() (envelope Envelope, err error) {
	if envelope.KeyID, err = uuid.Parse(w.KeyID); err != nil {
		return Envelope{}, fmt.Errorf("%w: kid is not a UUID", ErrMalformed)
	}

	if err := decodeExactly(envelope.Commitment[:], w.Commitment); err != nil {
		return Envelope{}, fmt.Errorf("kc: %w", err)
	}

	if err := decodeExactly(envelope.Nonce[:], w.Nonce); err != nil {
		return Envelope{}, fmt.Errorf("n: %w", err)
	}

	envelope.Ciphertext, err = base64.RawURLEncoding.Strict().DecodeString(w.Ciphertext)
	if err != nil {
		return Envelope{}, fmt.Errorf("%w: ct is not base64url", ErrMalformed)
	}

	if size := len(envelope.Ciphertext); size < tagBytes || size > MaxPlaintextBytes+tagBytes {
		return Envelope{}, fmt.Errorf("%w: ct has %d bytes", ErrMalformed, size)
	}

	return envelope, nil
}

func decodeExactly(target []byte, text string) error {
	if len(text) != base64.RawURLEncoding.EncodedLen(len(target)) {
		return fmt.Errorf("%w: it does not have %d bytes", ErrMalformed, len(target))
	}

	if _, err := base64.RawURLEncoding.Strict().Decode(target, []byte(text)); err != nil {
		return fmt.Errorf("%w: it is not base64url", ErrMalformed)
	}

	return nil
}
