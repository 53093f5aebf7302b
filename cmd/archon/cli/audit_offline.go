package cli

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/archonhq/archon/eventstore/exportcheck"
)

// offlineFlags are those of a verification of a file.
type offlineFlags struct {
	file  string
	keys  []string
	since []string
}

func (f *offlineFlags) define(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.file, "file", "", "export to verify, - for standard input; needs --key")
	cmd.Flags().StringArrayVar(&f.keys, "key", nil, "key that signs the checkpoints, <origin>+<hash>+<key>; may be given several times")
	cmd.Flags().StringArrayVar(&f.since, "since", nil, "file with an older checkpoint; may be given several times")
}

// given tells whether a file is to be verified, and not the database.
func (f *offlineFlags) given(cmd *cobra.Command) bool {
	return cmd.Flags().Changed("file") || cmd.Flags().Changed("key") || cmd.Flags().Changed("since")
}

// maxNoteBytes is far more than a checkpoint has.
const maxNoteBytes = 64 << 10

// verifyFile verifies an export and says what came out.
func (p Process) verifyFile(flags offlineFlags, tenant string) error {
	switch {
	case tenant != "":
		return usageError{errors.New("--tenant is for the database; a file names its tenant itself")}
	case flags.file == "":
		return usageError{errors.New("--file is needed with --key and --since")}
	case len(flags.keys) == 0:
		return usageError{errors.New("--key is needed: `archon audit key` and GET /api/v1/audit/key tell it")}
	}
	options := exportcheck.Options{Keys: flags.keys, Progress: p.progress(flags.file)}
	for _, path := range flags.since {
		note, err := readNote(path)
		if err != nil {
			return usageError{fmt.Errorf("--since: %w", err)}
		}
		options.Since = append(options.Since, note)
	}
	file := io.Reader(os.Stdin)
	if flags.file != "-" {
		opened, err := os.Open(flags.file)
		if err != nil {
			return usageError{fmt.Errorf("--file: %w", err)}
		}
		defer func() { _ = opened.Close() }()
		file = opened
	}
	report, err := exportcheck.Verify(file, options)
	switch {
	case errors.Is(err, exportcheck.ErrUsage):
		return usageError{err}
	case err != nil:
		return err //nolint:wrapcheck // says what it did
	}
	p.printReport(&report)
	if report.Verdict != exportcheck.Sound {
		return exitError(report.Verdict)
	}
	return nil
}

// progress tells a person at a terminal how far a verification is, now and then; nil where stderr is none.
func (p Process) progress(what string) func(checked int64) {
	file, ok := p.Stderr.(*os.File)
	if !ok {
		return nil
	}
	if info, err := file.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	const every = time.Second
	var mu sync.Mutex
	begun := time.Now()
	last, done := begun, int64(0)
	return func(checked int64) {
		mu.Lock()
		defer mu.Unlock()
		done = max(done, checked)
		if now := time.Now(); now.Sub(last) >= every {
			last = now
			fmt.Fprintf(file, "archon: %s: %d events checked, %.0f a second\n", what, done, float64(done)/now.Sub(begun).Seconds())
		}
	}
}

func readNote(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err //nolint:wrapcheck // the caller does
	}
	defer func() { _ = file.Close() }()
	note, err := io.ReadAll(io.LimitReader(file, maxNoteBytes))
	return string(note), err //nolint:wrapcheck // the caller does
}

func (p Process) printReport(report *exportcheck.Report) {
	name := report.Tenant
	if name == "" {
		name = "the file"
	}
	switch report.Verdict {
	case exportcheck.Sound:
		fmt.Fprintf(p.Stdout, "%s: sound, positions %d to %d; checkpoint %s of %d events, root %s\n", name, report.From, report.To,
			report.Checkpoint.Origin, report.Checkpoint.Size, hex.EncodeToString(report.Checkpoint.Root[:]))
	case exportcheck.Tampered:
		if report.Position > 0 {
			fmt.Fprintf(p.Stdout, "%s: TAMPERED, first bad position %d: %s\n", name, report.Position, report.Reason)
		} else {
			fmt.Fprintf(p.Stdout, "%s: TAMPERED: %s\n", name, report.Reason)
		}
	case exportcheck.Incomplete:
		fmt.Fprintf(p.Stdout, "%s: INCOMPLETE: %s\n", name, report.Reason)
	}
	if report.Older > 0 {
		fmt.Fprintf(p.Stdout, "consistent with %d older checkpoints\n", report.Older)
	}
	for _, note := range report.Notes {
		fmt.Fprintf(p.Stdout, "\n%s", note)
	}
	fmt.Fprintln(p.Stdout, "not proven:")
	for _, sentence := range report.NotProven {
		fmt.Fprintf(p.Stdout, "- %s\n", sentence)
	}
}
