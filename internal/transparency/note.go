package transparency

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"

	"golang.org/x/mod/sumdb/note"

	"github.com/archonhq/archon/eventstore"
)

// algEd25519 is the signature type of C2SP's signed notes.
const algEd25519 = 1

// verifierKey is the public key in C2SP's form, "<name>+<hash>+<key>"; the name is the origin.
func verifierKey(origin string, key ed25519.PrivateKey) (string, error) {
	public, _ := key.Public().(ed25519.PublicKey)
	vkey, err := note.NewEd25519VerifierKey(origin, public)
	if err != nil {
		return "", fmt.Errorf("name the key of %s: %w", origin, err)
	}
	return vkey, nil
}

// sign makes the signed note of a checkpoint. Ed25519 is deterministic: the same checkpoint gives the same bytes.
func sign(checkpoint *eventstore.Checkpoint, key ed25519.PrivateKey) (string, error) {
	public, _ := key.Public().(ed25519.PublicKey)
	const hashBytes = 4
	sum := sha256.Sum256(append([]byte(checkpoint.Origin+"\n"+string(rune(algEd25519))), public...))
	signer, err := note.NewSigner("PRIVATE+KEY+" + checkpoint.Origin + "+" + hex.EncodeToString(sum[:hashBytes]) + "+" +
		base64.StdEncoding.EncodeToString(append([]byte{algEd25519}, key.Seed()...)))
	if err != nil {
		return "", fmt.Errorf("prepare to sign as %s: %w", checkpoint.Origin, err)
	}
	signed, err := note.Sign(&note.Note{Text: checkpoint.Body()}, signer)
	if err != nil {
		return "", fmt.Errorf("sign as %s: %w", checkpoint.Origin, err)
	}
	return string(signed), nil
}
