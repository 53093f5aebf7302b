package pgembed

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	stateFile = "postgres.json"

	privateMode    = os.FileMode(0o600)
	privateDirMode = os.FileMode(0o700)
	// searchableMode lets others pass through a folder without reading its listing.
	searchableMode = os.FileMode(0o711)

	keyBytes       = 32
	clusterIDBytes = 8
)

// state is what outlives the process, beside the cluster itself: the content of postgres.json.
type state struct {
	// Key is what all passwords are derived from, in hex.
	Key string `json:"key"`
	// Cluster names the folder below Config.ClustersDir; empty means that the cluster is in the data folder.
	Cluster string `json:"cluster,omitempty"`
	// Port is the one last used; 0 before the first start.
	Port int `json:"port"`
}

// loadState reads the file, or draws a new key where there is none. A new state is not yet stored.
func loadState(dataDir string) (*state, error) {
	raw, err := os.ReadFile(filepath.Join(dataDir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return newState(dataDir)
	}
	if err != nil {
		return nil, fmt.Errorf("read the state of the PostgreSQL cluster: %w", err)
	}
	st := new(state)
	if err := json.Unmarshal(raw, st); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadState, err)
	}
	key, err := hex.DecodeString(st.Key)
	if err != nil || len(key) != keyBytes {
		return nil, fmt.Errorf("%w: no key", ErrBadState)
	}
	// The name becomes part of a path of a program that may be root.
	if st.Cluster != "" && !filepath.IsLocal(st.Cluster) {
		return nil, fmt.Errorf("%w: cluster %q", ErrBadState, st.Cluster)
	}
	return st, nil
}

func newState(dataDir string) (*state, error) {
	dir := filepath.Join(dataDir, clusterName)
	if isCluster(dir) {
		return nil, fmt.Errorf("%w: %s", ErrKeyMissing, dir)
	}
	return &state{Key: randomHex(keyBytes)}, nil
}

// save replaces the file in one step, so that a crash leaves the old one or the new one.
func (st *state) save(dataDir string) error {
	raw, err := json.Marshal(st)
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	return replaceFile(filepath.Join(dataDir, stateFile), append(raw, '\n'), nil)
}

// password derives a role's password from the key: stable, different for each role, and nothing to store or to lock.
func (st *state) password(role string) string {
	mac := hmac.New(sha256.New, []byte(st.Key))
	mac.Write([]byte("archon.postgres.password\x00" + role))
	return hex.EncodeToString(mac.Sum(nil))
}

// replaceFile writes a private file beside path, has prepare (if any) change it, and renames it over path, durably.
func replaceFile(path string, content []byte, prepare func(temp string) error) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(file.Name()))
		}
	}()
	_, err = file.Write(content)
	err = errors.Join(err, file.Sync(), file.Close())
	if err != nil {
		return err
	}
	if prepare != nil {
		if err = prepare(file.Name()); err != nil {
			return err
		}
	}
	if err = os.Rename(file.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes renames in a folder survive a power cut.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open folder: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func randomHex(n int) string {
	raw := make([]byte, n)
	// crypto/rand.Read never fails: it ends the program rather than return weak bytes.
	_, _ = rand.Read(raw)
	return hex.EncodeToString(raw)
}
