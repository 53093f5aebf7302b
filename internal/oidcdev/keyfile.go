package oidcdev

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/sys/unix"
)

const (
	fileName = "issuer.json"
	fileMode = 0o600
	dirMode  = 0o700

	// keyBits is the least that package auth, and any current client, accepts.
	keyBits = 2048
)

// keyFile is the content of the file.
type keyFile struct {
	Issuer string `json:"issuer"`
	// Signing is the private key.
	Signing jose.JSONWebKey `json:"signing_key"`
	// Retired are public keys, the youngest first.
	Retired []retiredKey `json:"retired_keys,omitempty"`
}

type retiredKey struct {
	Key jose.JSONWebKey `json:"key"`
	// Until is when the last token that it signed expires.
	Until time.Time `json:"until"`
}

// ErrKeyFile is returned for a key file that does not hold what this package wrote.
var ErrKeyFile = errors.New("the key file is damaged; move it away to start with a new key, which makes all tokens issued so far invalid")

// newSigningKey makes a private key whose id is its RFC 7638 thumbprint, so that two keys never share an id.
func newSigningKey() (jose.JSONWebKey, error) {
	private, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return jose.JSONWebKey{}, fmt.Errorf("generate signing key: %w", err)
	}

	key := jose.JSONWebKey{Key: private, Algorithm: string(jose.RS256), Use: "sig"}

	thumbprint, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return jose.JSONWebKey{}, fmt.Errorf("name signing key: %w", err)
	}

	key.KeyID = base64.RawURLEncoding.EncodeToString(thumbprint)

	return key, nil
}

// publicKeys lists the signing key's public half and the retired keys that still count.
func (f *keyFile) publicKeys(now time.Time) []jose.JSONWebKey {
	keys := []jose.JSONWebKey{f.Signing.Public()}

	for _, old := range f.Retired {
		if now.Before(old.Until) {
			keys = append(keys, old.Key)
		}
	}

	return keys
}

// rotate replaces the signing key and drops retired keys whose tokens have all expired.
func (f *keyFile) rotate(now time.Time) error {
	key, err := newSigningKey()
	if err != nil {
		return err
	}

	retired := []retiredKey{{Key: f.Signing.Public(), Until: now.Add(MaxTTL).UTC()}}

	for _, old := range f.Retired {
		if now.Before(old.Until) {
			retired = append(retired, old)
		}
	}

	f.Signing, f.Retired = key, retired

	return nil
}

// openFile reads the key file and makes it where it is missing.
func openFile(path, issuerURL string) (*keyFile, error) {
	state, err := readFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return state, err
	}

	if _, err := parseURL(issuerURL); err != nil {
		return nil, err
	}

	if err := os.MkdirAll(filepath.Dir(path), dirMode); err != nil {
		return nil, fmt.Errorf("make folder of issuer: %w", err)
	}

	unlock, err := lock(path)
	if err != nil {
		return nil, err
	}
	defer unlock()

	// Another process may have made it while this one waited for the lock.
	state, err = readFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return state, err
	}

	key, err := newSigningKey()
	if err != nil {
		return nil, err
	}

	state = &keyFile{Issuer: issuerURL, Signing: key}

	return state, writeFile(path, state)
}

// updateFile changes the content of the key file under its lock.
func updateFile(path string, change func(*keyFile) error) error {
	unlock, err := lock(path)
	if err != nil {
		return err
	}
	defer unlock()

	state, err := readFile(path)
	if err != nil {
		return err
	}

	if err := change(state); err != nil {
		return err
	}

	return writeFile(path, state)
}

// readIfChanged returns nil where the file is still the one that info describes.
func readIfChanged(path string, seen fs.FileInfo) (*keyFile, fs.FileInfo, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, fmt.Errorf("look at key file: %w", err)
	}

	// Every write makes another file, so equal files have equal content; the time guards against a reused inode.
	if seen != nil && os.SameFile(info, seen) && info.ModTime().Equal(seen.ModTime()) {
		return nil, seen, nil
	}

	state, err := readFile(path)
	if err != nil {
		return nil, nil, err
	}

	return state, info, nil
}

func readFile(path string) (*keyFile, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read key file: %w", err)
	}

	var state keyFile
	if err := json.Unmarshal(content, &state); err != nil {
		// The decoder's error is left out, since it can quote the private key.
		return nil, fmt.Errorf("read %s: %w", path, ErrKeyFile)
	}

	if _, isPrivate := state.Signing.Key.(*rsa.PrivateKey); !isPrivate || state.Issuer == "" {
		return nil, fmt.Errorf("read %s: %w", path, ErrKeyFile)
	}

	return &state, nil
}

// writeFile replaces the file as a whole: after a crash either the old or the new one is there, never a part.
func writeFile(path string, state *keyFile) error {
	content, err := json.MarshalIndent(state, "", "  ")
	if err != nil {
		return fmt.Errorf("encode key file: %w", err)
	}

	temporary := path + ".new"
	if err := writeDurably(temporary, content); err != nil {
		return err
	}

	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("replace key file: %w", err)
	}

	return syncDir(filepath.Dir(path))
}

// writeDurably writes under the lock, so the name is this process's alone; what a crash left there is overwritten.
func writeDurably(path string, content []byte) (err error) {
	// A leftover would keep its inode and its mode.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove old temporary key file: %w", err)
	}

	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return fmt.Errorf("create key file: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()

	if _, err := file.Write(content); err != nil {
		return fmt.Errorf("write key file: %w", err)
	}

	if err := file.Sync(); err != nil {
		return fmt.Errorf("sync key file: %w", err)
	}

	return nil
}

// syncDir makes a rename in the folder last through a power cut.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open folder of issuer: %w", err)
	}

	return errors.Join(dir.Sync(), dir.Close())
}

// lock waits for the exclusive right to write the key file, against other processes and other users in this one. The
// kernel gives it back when a process dies.
func lock(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, fmt.Errorf("open lock of key file: %w", err)
	}

	for {
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}

	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock key file: %w", err), file.Close())
	}

	// Closing the only descriptor gives the lock back; nothing was written that could fail to be stored.
	return func() { _ = file.Close() }, nil
}
