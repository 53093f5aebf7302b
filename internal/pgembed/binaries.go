package pgembed

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"
)

const (
	// minMajor is the oldest PostgreSQL that Archon is tested with.
	minMajor = 15

	versionTimeout = 10 * time.Second
)

// programs is a folder of server programs and their major version.
type programs struct {
	dir   string
	major int
}

// FindBinaries returns the folder that holds initdb and postgres, and their major version. With a binDir only that one will do; else it
// looks through PATH and the places where Debian, Red Hat and Homebrew put them, and takes the newest. The error is [ErrNoPostgres]
// where nothing of version 15 or newer is found.
func FindBinaries(ctx context.Context, binDir string) (dir string, major int, err error) {
	best, err := findPrograms(ctx, binDir, 0)
	return best.dir, best.major, err
}

// findPrograms is FindBinaries for a cluster of a given major version; 0 takes any.
func findPrograms(ctx context.Context, binDir string, major int) (programs, error) {
	found, err := allPrograms(ctx, binDir)
	if err != nil {
		return programs{}, err
	}
	if major == 0 {
		return slices.MaxFunc(found, func(a, b programs) int { return a.major - b.major }), nil
	}
	i := slices.IndexFunc(found, func(p programs) bool { return p.major == major })
	if i < 0 {
		return programs{}, fmt.Errorf("%w: it was made by version %d, found only %v; install postgresql-%d, or set ARCHON_PG_BIN to the folder of its programs",
			ErrWrongMajor, major, found, major)
	}
	return found[i], nil
}

// allPrograms returns at least one, or an error.
func allPrograms(ctx context.Context, binDir string) ([]programs, error) {
	dirs := candidates()
	if binDir != "" {
		dirs = []string{binDir}
	}
	var found []programs
	for _, dir := range dirs {
		if major := majorOf(ctx, dir); major >= minMajor {
			found = append(found, programs{dir: dir, major: major})
		}
	}
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("look for PostgreSQL: %w", context.Cause(ctx))
	case len(found) > 0:
		return found, nil
	case binDir != "":
		return nil, fmt.Errorf("%w (in ARCHON_PG_BIN=%s there is no initdb and postgres of such a version)", ErrNoPostgres, binDir)
	default:
		return nil, ErrNoPostgres
	}
}

func (p programs) String() string { return fmt.Sprintf("%d in %s", p.major, p.dir) }

// candidates lists the folders where server programs may be, PATH first.
func candidates() []string {
	var dirs []string
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		// PATH often holds links into the folder that really has all programs side by side.
		if program, err := filepath.EvalSymlinks(filepath.Join(dir, "postgres")); err == nil {
			dirs = append(dirs, filepath.Dir(program))
		}
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin",
		"/usr/pgsql-*/bin",
		"/opt/homebrew/opt/postgresql@*/bin",
		"/usr/local/opt/postgresql@*/bin",
		"/Applications/Postgres.app/Contents/Versions/*/bin",
		"/usr/local/pgsql/bin",
	} {
		matches, err := filepath.Glob(pattern)
		if err == nil { // the only error is a malformed pattern
			dirs = append(dirs, matches...)
		}
	}
	return dirs
}

// majorOf returns the version of the programs in dir, 0 where there are none that run.
func majorOf(ctx context.Context, dir string) int {
	if _, err := exec.LookPath(filepath.Join(dir, "initdb")); err != nil {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return 0
	}
	return parseVersion(string(out))
}

// parseVersion reads the major version from what postgres --version prints, such as "postgres (PostgreSQL) 17beta1"; 0 if there is none.
func parseVersion(out string) int {
	match := regexp.MustCompile(`\(PostgreSQL\) (\d{1,4})`).FindStringSubmatch(out)
	if match == nil {
		return 0
	}
	major, err := strconv.Atoi(match[1])
	if err != nil {
		return 0
	}
	return major
}
