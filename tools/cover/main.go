// Command cover prints how much of the hand-written code coverage profiles cover, and fails below a minimum.
//
// `go test` counts each package by its own tests only, or every package for every test binary. This command merges the
// profile's blocks instead: a statement counts once, as covered when any test of any package ran it. Generated files,
// tools and packages that exist for tests only don't count.
package main

import (
	"bufio"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	module         = "github.com/archonhq/archon/"
	defaultMinimum = 80
	percent        = 100
)

// notCounted matches files, relative to the module, that nobody would write a test for.
var notCounted = regexp.MustCompile(`\.gen\.go:|^tools/|^internal/(deps|spec|testdb)/|^internal/test[a-z]*/|(^|/)[a-z]+test/`)

// ErrBelow says that less is covered than was asked for: write the missing tests.
var ErrBelow = errors.New("coverage is below the minimum")

func main() {
	minimum := flag.Float64("min", defaultMinimum, "least `percentage` of statements")
	flag.Parse()

	err := run(os.Stdout, flag.Args(), *minimum)
	if err != nil {
		fmt.Fprintln(os.Stderr, "cover:", err)
		os.Exit(1)
	}
}

func run(out io.Writer, profiles []string, minimum float64) error {
	blocks := map[string]block{}

	for _, name := range profiles {
		err := read(blocks, name)
		if err != nil {
			return err
		}
	}

	return report(out, blocks, minimum)
}

func read(blocks map[string]block, name string) error {
	profile, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("open the profile: %w", err)
	}

	defer func() { _ = profile.Close() }()

	err = merge(blocks, profile)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}

	return nil
}

// block is a run of statements, as covered by any test.
type block struct {
	statements int
	covered    bool
}

// share is how many statements there are, and how many of them ran.
type share struct{ covered, statements int }

func (s share) percentage() float64 {
	if s.statements == 0 {
		return percent
	}

	return percent * float64(s.covered) / float64(s.statements)
}

// merge reads lines of "file:from,to statements count"; the same block comes once for each test binary.
func merge(blocks map[string]block, profile io.Reader) error {
	lines := bufio.NewScanner(profile)

	for lines.Scan() {
		line, ours := strings.CutPrefix(lines.Text(), module)
		if !ours || notCounted.MatchString(line) {
			continue
		}

		fields := strings.Fields(line)
		if len(fields) != 3 {
			return fmt.Errorf("%w: %q", errFormat, line)
		}

		statements, err := strconv.Atoi(fields[1])
		if err != nil {
			return fmt.Errorf("%w: %q", errFormat, line)
		}

		before := blocks[fields[0]]
		blocks[fields[0]] = block{statements: statements, covered: before.covered || fields[2] != "0"}
	}

	return lines.Err() //nolint:wrapcheck // the caller names the file
}

var errFormat = errors.New("not a line of a coverage profile")

func report(out io.Writer, blocks map[string]block, minimum float64) error {
	packages := map[string]share{}

	var total share

	for position, b := range blocks {
		file, _, _ := strings.Cut(position, ":")
		pkg := packages[path.Dir(file)]

		pkg.statements += b.statements
		total.statements += b.statements

		if b.covered {
			pkg.covered += b.statements
			total.covered += b.statements
		}

		packages[path.Dir(file)] = pkg
	}

	names := slices.SortedFunc(maps.Keys(packages), func(a, b string) int {
		return cmp.Or(cmp.Compare(packages[a].percentage(), packages[b].percentage()), cmp.Compare(a, b))
	})
	for _, name := range names {
		fmt.Fprintf(out, "%6.1f %%  %s\n", packages[name].percentage(), name)
	}

	fmt.Fprintf(out, "coverage total: %.1f %% of %d hand-written statements (minimum %g %%)\n",
		total.percentage(), total.statements, minimum)

	if total.percentage() < minimum || (total.statements == 0 && minimum > 0) {
		return ErrBelow
	}

	return nil
}
