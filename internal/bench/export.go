package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"golang.org/x/mod/sumdb/note"

	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/eventstore/exportcheck"
)

// Export measures the offline verification of an export of config.Events events, on one core, beside sha256sum of the same file, which the
// system has in its cache by then.
func Export(ctx context.Context, config Config) (err error) {
	config = config.withDefaults()
	sum, err := exec.LookPath("sha256sum")
	if err != nil {
		return fmt.Errorf("the baseline of this measurement is sha256sum; install it: %w", err)
	}
	scratch, err := OpenScratch(ctx, config.OwnerDSN)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, scratch.Close(ctx)) }()
	environment, err := scratch.environment(ctx)
	if err != nil {
		return err
	}
	environment.Rounds, environment.Events = config.Rounds, config.Events
	dir, err := os.MkdirTemp("", "archon-bench-")
	if err != nil {
		return fmt.Errorf("make a folder for the export: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "export.ndjson")
	key, err := scratch.export(ctx, path, config.Events)
	if err != nil {
		return err
	}
	results, err := config.interleave(ctx, "export", scratch, []variant{
		{name: "archon", measure: timed(func(context.Context) (int64, error) { return verifyExport(path, key) })},
		{name: "sha256sum", measure: timed(func(ctx context.Context) (int64, error) {
			return int64(config.Events), exec.CommandContext(ctx, sum, path).Run()
		})},
	})
	if err != nil {
		return err
	}
	return config.write(environment, results)
}

// verifyExport verifies on one core, as sha256sum does.
func verifyExport(path, key string) (int64, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	file, err := os.Open(path)
	if err != nil {
		return 0, err //nolint:wrapcheck // timed does
	}
	defer func() { _ = file.Close() }()
	report, err := exportcheck.Verify(file, exportcheck.Options{Keys: []string{key}})
	if err == nil && report.Verdict != exportcheck.Sound {
		err = fmt.Errorf("%w: %s", errNotIntact, report.Reason)
	}
	return report.To, err //nolint:wrapcheck // timed does
}

// export fills the scratch database, and writes an export that a key of its own has signed, which it returns.
func (s *Scratch) export(ctx context.Context, path string, events int) (vkey string, err error) {
	if err := s.Fill(ctx, benchTenant, events, benchEvents()); err != nil {
		return "", err
	}
	pool, err := s.Pool(ctx, RoleApp, 1)
	if err != nil {
		return "", err
	}
	store := eventstore.New(pool, eventstore.Config{})
	tree, err := store.GrowTree(ctx, benchTenant)
	if err != nil {
		return "", err //nolint:wrapcheck // says what it did
	}
	root, err := tree.Root(ctx, tree.Size)
	if err != nil {
		return "", err //nolint:wrapcheck // says what it did
	}
	checkpoint := eventstore.Checkpoint{Origin: eventstore.Origin("bench", benchTenant, 1), Size: tree.Size, Root: root}
	skey, vkey, err := note.GenerateKey(rand.Reader, checkpoint.Origin)
	if err != nil {
		return "", fmt.Errorf("make a key: %w", err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		return "", fmt.Errorf("make a signer: %w", err)
	}
	signed, err := note.Sign(&note.Note{Text: checkpoint.Body()}, signer)
	if err != nil {
		return "", fmt.Errorf("sign the export: %w", err)
	}
	prepared, err := store.PrepareExport(ctx, eventstore.Export{Tree: tree, Note: string(signed)})
	if err != nil {
		return "", err //nolint:wrapcheck // says what it did
	}
	file, err := os.Create(path)
	if err != nil {
		return "", fmt.Errorf("make the export: %w", err)
	}
	if err := errors.Join(prepared.Write(ctx, file), file.Close()); err != nil {
		return "", fmt.Errorf("write the export: %w", err)
	}
	return vkey, nil
}
