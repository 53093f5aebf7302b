package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReportMergesTestBinariesAndLeavesOutWhatIsNotCounted(t *testing.T) {
	t.Parallel()

	profile := `mode: atomic
github.com/archonhq/archon/eventstore/a.go:1.1,2.2 3 0
github.com/archonhq/archon/eventstore/a.go:1.1,2.2 3 7
github.com/archonhq/archon/eventstore/b.go:1.1,2.2 1 0
github.com/archonhq/archon/domain/c.go:1.1,2.2 4 1
github.com/archonhq/archon/api/types.gen.go:1.1,2.2 1000 0
github.com/archonhq/archon/tools/cover/main.go:1.1,2.2 1000 0
github.com/archonhq/archon/eventstore/eventstoretest/x.go:1.1,2.2 1000 0
github.com/archonhq/archon/internal/testdb/x.go:1.1,2.2 1000 0
example.com/other/x.go:1.1,2.2 1000 0
`
	out, err := reportOf(t, profile, 87.5)
	if err != nil {
		t.Fatalf("7 of 8 statements against a minimum of 87.5: %v", err)
	}

	want := `  75.0 %  eventstore
 100.0 %  domain
coverage total: 87.5 % of 8 hand-written statements (minimum 87.5 %)
`
	if out != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}

	_, err = reportOf(t, profile, 87.6)
	if !errors.Is(err, ErrBelow) {
		t.Errorf("87.5 %% against 87.6: got %v, want ErrBelow", err)
	}
}

func TestReportRefusesAnEmptyOrMalformedProfile(t *testing.T) {
	t.Parallel()

	_, err := reportOf(t, "mode: atomic\n", 1)
	if !errors.Is(err, ErrBelow) {
		t.Errorf("nothing counted: got %v, want ErrBelow", err)
	}

	for _, line := range []string{"github.com/archonhq/archon/a.go:1.1,2.2 x 1\n", "github.com/archonhq/archon/a.go:1.1,2.2 1\n"} {
		_, err = reportOf(t, line, 0)
		if !errors.Is(err, errFormat) {
			t.Errorf("%q: got %v, want errFormat", line, err)
		}
	}

	err = run(&strings.Builder{}, []string{filepath.Join(t.TempDir(), "none")}, 0)
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: got %v", err)
	}
}

// A program that a test starts writes a profile of its own.
func TestReportMergesProfiles(t *testing.T) {
	t.Parallel()

	var out strings.Builder

	err := run(&out, []string{
		profileOf(t, "mode: atomic\ngithub.com/archonhq/archon/cmd/a.go:1.1,2.2 3 0\n"),
		profileOf(t, "mode: set\ngithub.com/archonhq/archon/cmd/a.go:1.1,2.2 3 1\n"),
	}, 100)
	if err != nil {
		t.Errorf("%v\n%s", err, &out)
	}
}

func reportOf(t *testing.T, profile string, minimum float64) (string, error) {
	t.Helper()

	var out strings.Builder

	err := run(&out, []string{profileOf(t, profile)}, minimum)

	return out.String(), err
}

func profileOf(t *testing.T, profile string) string {
	t.Helper()

	file := filepath.Join(t.TempDir(), "coverage.out")

	err := os.WriteFile(file, []byte(profile), 0o600)
	if err != nil {
		t.Fatal(err)
	}

	return file
}
