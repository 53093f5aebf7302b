package pgembed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// includeLine has the server read our settings after initdb's own; the probe of a setting runs before they are written.
const includeLine = "\ninclude_if_exists '" + settingsFile + "'\n"

// locales lists what initdb is asked for, best first: text sorts by bytes, the same on every system; letters beyond ASCII have upper and
// lower case where the system knows C.UTF-8, as in the databases that production runs on.
func locales() [][]string {
	return [][]string{{"--locale=C", "--lc-ctype=C.UTF-8"}, {"--locale=C"}}
}

// create makes the cluster in a folder beside its own and moves it there when it is whole. So a cluster's folder that exists is a complete
// one, wherever its making was cut off; what was left then is removed here.
func (p place) create(ctx context.Context, password string) error {
	p.sweep()
	work, err := os.MkdirTemp(filepath.Dir(p.dir), p.workPrefix()+"*")
	if err != nil {
		return fmt.Errorf("make a folder for initdb: %w", err)
	}
	defer func() { _ = os.RemoveAll(work) }()
	passwordFile := filepath.Join(work, "password")
	if err := os.WriteFile(passwordFile, []byte(password+"\n"), privateMode); err != nil {
		return fmt.Errorf("write password for initdb: %w", err)
	}
	if err := errors.Join(p.account.own(work), p.account.own(passwordFile)); err != nil {
		return err
	}
	data := filepath.Join(work, "data")
	if err := p.initdb(ctx, data, passwordFile); err != nil {
		return err
	}
	if err := appendSynced(filepath.Join(data, "postgresql.conf"), includeLine); err != nil {
		return err
	}
	if err := os.Rename(data, p.dir); err != nil {
		return fmt.Errorf("move the new cluster into place: %w", err)
	}
	return syncDir(filepath.Dir(p.dir))
}

func (p place) initdb(ctx context.Context, data, passwordFile string) error {
	var errs []error
	for _, locale := range locales() {
		args := append([]string{
			"--pgdata=" + data, "--username=" + Superuser, "--pwfile=" + passwordFile,
			"--auth=scram-sha-256", "--encoding=UTF8", "--data-checksums", "--no-instructions",
		}, locale...)
		cmd := p.account.command(ctx, filepath.Join(p.bin, "initdb"), args...)
		cmd.Dir = filepath.Dir(data)
		out, err := cmd.CombinedOutput()
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("run initdb as %s: %w: %s", p.account.name, err, bytes.TrimSpace(out)))
		if ctx.Err() != nil {
			break
		}
		if err := os.RemoveAll(data); err != nil {
			return fmt.Errorf("clean up after initdb: %w", err)
		}
	}
	return errors.Join(errs...)
}

// sweep removes what an interrupted create left. An initdb that outlived its Archon may still be writing there: then a part stays until the next start.
func (p place) sweep() {
	parent := filepath.Dir(p.dir)
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), p.workPrefix()) {
			_ = os.RemoveAll(filepath.Join(parent, entry.Name()))
		}
	}
}

// workPrefix begins the names of the folders in which create works. It names the cluster, since several may have one parent.
func (p place) workPrefix() string { return filepath.Base(p.dir) + ".init-" }

func appendSynced(path, text string) error {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY|noFollow, 0)
	if err != nil {
		return fmt.Errorf("open settings: %w", err)
	}
	_, err = file.WriteString(text)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
