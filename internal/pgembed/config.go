package pgembed

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

const (
	// Superuser is the role that owns the cluster.
	Superuser = "archon_root"
	// Database is the one database of the cluster that Archon uses.
	Database = "archon"

	defaultClustersDir = "/var/lib/archon/clusters"

	// defaultAnswerTimeout is far more than a healthy server needs on a busy machine; crash recovery does not count, since a recovering
	// server does answer.
	defaultAnswerTimeout = 15 * time.Second
	// defaultStopTimeout leaves room for the checkpoint of a fast shutdown: at most shared_buffers, 128 MB, are written.
	defaultStopTimeout = 15 * time.Second
)

// Config says where the cluster lives and what it runs on. Only DataDir is required.
type Config struct {
	// DataDir is Archon's data folder, absolute or relative to the working directory. It is made where missing.
	DataDir string
	// BinDir is the folder of the server programs (initdb, postgres). Empty means: look in the usual places, see [FindBinaries].
	BinDir string
	// ClustersDir holds the clusters of data folders that the server's user cannot reach, which happens when Archon runs as root with a data
	// folder below a private one. The data folder then names its cluster. Empty means /var/lib/archon/clusters.
	ClustersDir string
	// Log receives starts, stops and restarts; nil discards them.
	Log *slog.Logger
	// ExtraSettings are server settings that win over this package's own, by name. They take effect when the server is started, not when a
	// running one is adopted.
	ExtraSettings map[string]string
	// AnswerTimeout is how long a live server may stay silent before it is given up and stopped; 0 means 15 s.
	AnswerTimeout time.Duration
	// StopTimeout is how long a fast shutdown may take before the server is stopped the hard way (it then recovers at its next start); 0
	// means 15 s.
	StopTimeout time.Duration
}

// withDefaults fills the empty fields in and makes the data folder.
func (cfg Config) withDefaults() (Config, error) {
	if cfg.DataDir == "" {
		return cfg, ErrNoDataDir
	}
	for _, dir := range []*string{&cfg.DataDir, &cfg.ClustersDir} {
		abs, err := filepath.Abs(cmp.Or(*dir, defaultClustersDir))
		if err != nil {
			return cfg, fmt.Errorf("find folder %s: %w", *dir, err)
		}
		*dir = abs
	}
	cfg.Log = cmp.Or(cfg.Log, slog.New(slog.DiscardHandler))
	cfg.AnswerTimeout = cmp.Or(cfg.AnswerTimeout, defaultAnswerTimeout)
	cfg.StopTimeout = cmp.Or(cfg.StopTimeout, defaultStopTimeout)
	// Later would be too late: a refused start should not leave a new cluster.
	if _, err := renderSettings(cfg.ExtraSettings); err != nil {
		return cfg, err
	}
	return cfg, makeDirs(cfg.DataDir, dataDirMode())
}

// dataDirMode is the mode of a data folder that does not exist yet. Root's must be searchable by the server's user, who owns the cluster in it;
// everything else in it is private by its own mode.
func dataDirMode() os.FileMode {
	if isRoot() {
		return searchableMode
	}
	return privateDirMode
}

// makeDirs makes the missing folders of path with exactly this mode, whatever the umask.
func makeDirs(path string, mode os.FileMode) error {
	_, err := os.Stat(path)
	if err == nil {
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look for folder: %w", err)
	}
	if err := makeDirs(filepath.Dir(path), mode); err != nil {
		return err
	}
	// Another process may be making it at the same moment.
	if err := os.Mkdir(path, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make folder: %w", err)
	}
	if err := os.Chmod(path, mode); err != nil {
		return fmt.Errorf("set mode of folder: %w", err)
	}
	return nil
}
