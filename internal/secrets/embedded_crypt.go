package secrets

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"filippo.io/age"
)

const (
	identityFile = "identity.age-key"
	// othersMode are the permission bits that an identity must not have.
	othersMode = 0o077
)

// record is what a version's file holds, encrypted. The path and the version are in it so that a file that was moved
// to another name is found out.
type record struct {
	Path    string            `json:"path"`
	Version int               `json:"version"`
	Value   map[string]string `json:"value"`
}

func (e *Embedded) encrypt(plain record) ([]byte, error) {
	if plain.Value == nil {
		plain.Value = map[string]string{}
	}

	text, err := json.Marshal(plain)
	if err != nil {
		return nil, fmt.Errorf("%w: the value cannot be written as JSON", ErrInvalid)
	}

	var sealed bytes.Buffer

	writer, err := age.Encrypt(&sealed, e.identity.Recipient())
	if err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}

	if _, err := writer.Write(text); err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}

	if err := writer.Close(); err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}

	return sealed.Bytes(), nil
}

// decrypt never passes on what a decoder says, which may quote the plaintext.
func (e *Embedded) decrypt(sealed []byte, path string, version int) (map[string]string, error) {
	reader, err := age.Decrypt(bytes.NewReader(sealed), e.identity)
	if err != nil {
		return nil, fmt.Errorf("%w: it does not open with the identity of this store", ErrCorrupt)
	}

	text, err := io.ReadAll(reader)
	if err != nil {
		return nil, fmt.Errorf("%w: its bytes were changed", ErrCorrupt)
	}

	var plain record
	if err := json.Unmarshal(text, &plain); err != nil {
		return nil, fmt.Errorf("%w: it is not a secret", ErrCorrupt)
	}

	if plain.Path != path || plain.Version != version || plain.Value == nil {
		return nil, fmt.Errorf("%w: it is another secret or version", ErrCorrupt)
	}

	return plain.Value, nil
}

func identityPath(dir string) string { return filepath.Join(dir, identityFile) }

// loadIdentity reads the store's identity, and makes one for a new store. Of several processes that start at once
// one makes it and the others read it.
func loadIdentity(dir string) (*age.X25519Identity, error) {
	name := identityPath(dir)

	identity, err := readIdentity(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return identity, err
	}

	used, err := readDirIfThere(filepath.Join(dir, secretsDir))
	if err != nil {
		return nil, err
	}

	if len(used) > 0 && isMissing(name) {
		return nil, fmt.Errorf("%s holds secrets but %s is not there: put the file back from a backup, "+
			"or remove the directory to begin without the secrets", dir, name)
	}

	if err := createIdentity(name); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}

	if err := syncDir(filepath.Dir(dir)); err != nil { // the new store's own name
		return nil, err
	}

	return readIdentity(name)
}

func createIdentity(name string) error {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return fmt.Errorf("make identity: %w", err)
	}

	content := fmt.Sprintf("# public key: %s\n%s\n", identity.Recipient(), identity)

	return createFile(name, []byte(content))
}

func readIdentity(name string) (*age.X25519Identity, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("read identity: %w", err)
	}

	if info.Mode().Perm()&othersMode != 0 {
		return nil, fmt.Errorf("others may read %s: run chmod 600 on it", name)
	}

	content, err := readSmallFile(name)
	if err != nil {
		return nil, fmt.Errorf("read identity: %w", err)
	}

	identities, err := age.ParseIdentities(bytes.NewReader(content))
	if err != nil || len(identities) != 1 {
		return nil, fmt.Errorf("%w: %s does not hold one age identity", ErrCorrupt, name)
	}

	identity, ok := identities[0].(*age.X25519Identity)
	if !ok {
		return nil, fmt.Errorf("%w: %s does not hold an X25519 identity", ErrCorrupt, name)
	}

	return identity, nil
}
