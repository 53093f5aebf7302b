package privacy_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/archonhq/archon/internal/privacy"
)

// vectors is testdata/envelope-v1.json, which a second implementation wrote.
type vectors struct {
	Valid []struct {
		Name, Tenant, Subject string
		Generation            int
		Key                   hexBytes `json:"key_hex"`
		Nonce                 hexBytes `json:"nonce_hex"`
		Plaintext             hexBytes `json:"plaintext_hex"`
		Envelope              string
	}
	Tampered  []struct{ Name, Tenant, Envelope string }
	Malformed []struct{ Name, Envelope string }
}

type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) error {
	raw, err := hex.DecodeString(string(text))
	*h = raw

	return err
}

func loadVectors(tb testing.TB) vectors {
	tb.Helper()

	text, err := os.ReadFile("testdata/envelope-v1.json")
	if err != nil {
		tb.Fatal(err)
	}

	var loaded vectors
	if err := json.Unmarshal(text, &loaded); err != nil {
		tb.Fatal(err)
	}

	if len(loaded.Valid) < 5 || len(loaded.Tampered) < 7 || len(loaded.Malformed) < 10 {
		tb.Fatal("vectors are missing")
	}

	return loaded
}

func TestVectorsAreSealedAndOpened(t *testing.T) {
	t.Parallel()

	for _, vector := range loadVectors(t).Valid {
		t.Run(vector.Name, func(t *testing.T) {
			t.Parallel()

			sealed, err := privacy.SealVector(vector.Tenant, vector.Subject, vector.Generation,
				vector.Key, [12]byte(vector.Nonce), vector.Plaintext)
			if err != nil {
				t.Fatal(err)
			}

			text, err := json.Marshal(sealed)
			if err != nil {
				t.Fatal(err)
			}

			if string(text) != vector.Envelope {
				t.Errorf("sealed as %s, want %s", text, vector.Envelope)
			}

			parsed, err := privacy.ParseEnvelope([]byte(vector.Envelope))
			if err != nil {
				t.Fatal(err)
			}

			opened, err := privacy.OpenVector(vector.Tenant, vector.Key, parsed)
			if err != nil || !bytes.Equal(opened, vector.Plaintext) {
				t.Errorf("opened as %x, %v", opened, err)
			}
		})
	}
}

func TestTamperedVectorsDoNotOpen(t *testing.T) {
	t.Parallel()

	loaded := loadVectors(t)
	for _, vector := range loaded.Tampered {
		envelope, err := privacy.ParseEnvelope([]byte(vector.Envelope))
		if err != nil {
			t.Errorf("%s: %v", vector.Name, err)

			continue
		}

		opened, err := privacy.OpenVector(vector.Tenant, loaded.Valid[0].Key, envelope)
		if !errors.Is(err, privacy.ErrTampered) || opened != nil {
			t.Errorf("%s: opened as %x, %v", vector.Name, opened, err)
		}
	}
}

func TestMalformedVectorsAreRefused(t *testing.T) {
	t.Parallel()

	for _, vector := range loadVectors(t).Malformed {
		if _, err := privacy.ParseEnvelope([]byte(vector.Envelope)); !errors.Is(err, privacy.ErrMalformed) {
			t.Errorf("%s: %v", vector.Name, err)
		}
	}
}

// AES-GCM takes any key whose tag fits; only the commitment ties an envelope to one key.
func TestAnEnvelopeOfAnotherKeyIsRefusedByItsCommitment(t *testing.T) {
	t.Parallel()

	valid := loadVectors(t).Valid
	first, second := valid[0].Key, valid[1].Key

	sealed, err := privacy.SealVector("acme", "user-1", 0, second, [12]byte{}, []byte("text"))
	if err != nil {
		t.Fatal(err)
	}

	_, err = privacy.OpenVector("acme", first, sealed)
	if !errors.Is(err, privacy.ErrTampered) || !strings.Contains(err.Error(), "commits to another") {
		t.Errorf("got %v", err)
	}

	honest, err := privacy.SealVector("acme", "user-1", 0, first, [12]byte{}, []byte("text"))
	if err != nil {
		t.Fatal(err)
	}

	sealed.Commitment = honest.Commitment
	if _, err = privacy.OpenVector("acme", first, sealed); !errors.Is(err, privacy.ErrTampered) {
		t.Errorf("got %v", err)
	}
}

func TestParseEnvelopeRefusals(t *testing.T) {
	t.Parallel()

	for _, text := range []string{
		"", "null", "{}", "[]", `"x"`, `{"v":1}`, loadVectors(t).Valid[0].Envelope + "x", "\xff",
		strings.Replace(loadVectors(t).Valid[0].Envelope, `"v":1`, `"v":1.0`, 1),
		strings.Replace(loadVectors(t).Valid[0].Envelope, `"v":1`, `"v":"1"`, 1),
		`{"v":1,"kid":"x","kc":"` + strings.Repeat("A", 200<<10) + `","n":"","ct":""}`,
	} {
		if _, err := privacy.ParseEnvelope([]byte(text)); !errors.Is(err, privacy.ErrMalformed) {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

func TestEnvelopeInsideOtherJSON(t *testing.T) {
	t.Parallel()

	type meta struct {
		Client privacy.Envelope `json:"client,omitzero"`
	}

	text := `{"client":` + loadVectors(t).Valid[0].Envelope + `}`

	var read meta
	if err := json.Unmarshal([]byte(strings.ReplaceAll(text, `,`, " ,\n ")), &read); err != nil {
		t.Fatal(err)
	}

	if again, err := json.Marshal(read); err != nil || string(again) != text {
		t.Errorf("written as %s, %v", again, err)
	}

	if none, err := json.Marshal(meta{}); err != nil || string(none) != "{}" {
		t.Errorf("none is written as %s, %v", none, err)
	}

	if null, err := json.Marshal(privacy.Envelope{}); err != nil || string(null) != "null" {
		t.Errorf("the zero value is written as %s, %v", null, err)
	}

	if err := json.Unmarshal([]byte(`{"client":null}`), &read); err != nil || !read.Client.IsZero() {
		t.Errorf("null is read as %+v, %v", read, err)
	}

	if err := json.Unmarshal([]byte(`{"client":{"v":1}}`), &read); !errors.Is(err, privacy.ErrMalformed) {
		t.Errorf("got %v", err)
	}
}

// Whatever is accepted has one form, and comes out of it again.
func FuzzParseEnvelope(f *testing.F) {
	loaded := loadVectors(f)
	for _, vector := range loaded.Valid {
		f.Add([]byte(vector.Envelope))
	}

	for _, vector := range loaded.Tampered {
		f.Add([]byte(vector.Envelope))
	}

	for _, vector := range loaded.Malformed {
		f.Add([]byte(vector.Envelope))
	}

	key, genuine := loaded.Valid[0].Key, map[string]bool{}
	for _, vector := range loaded.Valid {
		genuine[vector.Envelope] = true
	}

	f.Fuzz(func(t *testing.T, text []byte) {
		envelope, err := privacy.ParseEnvelope(text)
		if err != nil {
			if !errors.Is(err, privacy.ErrMalformed) || !envelope.IsZero() {
				t.Errorf("refused with %+v, %v", envelope, err)
			}

			return
		}

		var compact bytes.Buffer
		if err := json.Compact(&compact, text); err != nil {
			t.Fatalf("accepted what is not JSON: %v", err)
		}

		if again := envelope.AppendJSON(nil); !bytes.Equal(again, compact.Bytes()) {
			t.Errorf("%s comes out as %s", compact.Bytes(), again)
		}

		plaintext, err := privacy.OpenVector("acme", key, envelope)
		if err == nil && !genuine[compact.String()] {
			t.Errorf("opened a forged envelope to %q", plaintext)
		}
	})
}

// Every single bit of an envelope counts.
func TestNoBitOfAnEnvelopeCanChange(t *testing.T) {
	t.Parallel()

	vector := loadVectors(t).Valid[0]
	whole := []byte(vector.Envelope)

	for i := range whole {
		for bit := range 8 {
			changed := bytes.Clone(whole)
			changed[i] ^= 1 << bit

			envelope, err := privacy.ParseEnvelope(changed)
			if err != nil {
				continue
			}

			if opened, err := privacy.OpenVector(vector.Tenant, vector.Key, envelope); err == nil {
				t.Errorf("with bit %d of byte %d changed it opens to %q", bit, i, opened)
			}
		}
	}
}
