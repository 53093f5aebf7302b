package archtest_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// maxLines is how long a hand-written Go file may get before its subject should be cut in two.
const maxLines = 600

var (
	generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

	// machinePath finds paths of the machine that somebody worked on. A path that is meant is built from os.UserHomeDir.
	machinePath = regexp.MustCompile(`/(work|home|Users)/[A-Za-z][\w.-]*/|/root/[\w.]`)

	// privateKey finds keys. A test that needs one makes it.
	privateKey = regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE ` + `KEY-----`)

	// credential finds what looks like a real one.
	credential = regexp.MustCompile(strings.Join([]string{
		`\bAKIA[0-9A-Z]{16}\b`,
		`\bhv[sb]\.[A-Za-z0-9_-]{24,}`,
		`\bsk-(proj-|ant-)?[A-Za-z0-9_-]{32,}`,
		`\bgh[pousr]_[A-Za-z0-9]{36}\b`,
		`AGE-SECRET-KEY-1[A-Z0-9]{50,}`,
	}, "|"))

	// invented marks files whose business such words are: tests of what reads, refuses or redacts them.
	invented = regexp.MustCompile(`_test\.go$|(^|/)testdata/|[a-z]test/[a-z_]+\.go$`)
)

func TestHandWrittenGoFilesAreShort(t *testing.T) {
	t.Parallel()

	for name, content := range files(t) {
		lines := bytes.Count(content, []byte("\n"))
		if strings.HasSuffix(name, ".go") && !generated.Match(content) && lines > maxLines {
			t.Errorf("%s has %d lines, more than %d: does it have more than one subject?", name, lines, maxLines)
		}
	}
}

func TestFilesNameNoMachineAndHoldNoSecret(t *testing.T) {
	t.Parallel()

	for name, content := range files(t) {
		for _, finding := range findings(content, invented.MatchString(name)) {
			t.Errorf("%s: %s", name, finding)
		}
	}
}

func TestFindingsSeeWhatTheyAreFor(t *testing.T) {
	t.Parallel()

	for _, bad := range []string{
		"see /wo" + "rk/main/x.go", "/ho" + "me/jane/go", "/Us" + "ers/jane/src", "/ro" + "ot/.cache",
		"-----BEGIN EC PRIVATE " + "KEY-----", "AKIA" + "ABCDEFGHIJKLMNOP", "hvs." + strings.Repeat("a", 24),
		"sk-" + strings.Repeat("a", 40), "ghp_" + strings.Repeat("a", 36),
	} {
		if len(findings([]byte("x\n"+bad+" y"), false)) != 1 {
			t.Errorf("%q was not found", bad)
		}
	}

	for _, good := range []string{"/home of the brave", "https://example.com/homework/x/y", "hvs.EXAMPLE", "sk-test-1", "grass/root/"} {
		if found := findings([]byte(good), false); len(found) > 0 {
			t.Errorf("%q was found: %q", good, found)
		}
	}
}

// findings lists what content must not hold; in a file of inventions only what nobody should invent.
func findings(content []byte, inventions bool) []string {
	if bytes.IndexByte(content, 0) >= 0 {
		return nil // no text
	}

	forbidden := map[string]*regexp.Regexp{"a private key": privateKey}
	if !inventions {
		forbidden["a credential"] = credential
		forbidden["a path of somebody's machine"] = machinePath
	}

	var found []string

	for what, expression := range forbidden {
		if at := expression.FindIndex(content); at != nil {
			line := 1 + bytes.Count(content[:at[0]], []byte("\n"))
			found = append(found, fmt.Sprintf("what looks like %s stands in line %d", what, line)) // never the value
		}
	}

	return found
}

// root is the module's folder.
func root(t *testing.T) string {
	t.Helper()

	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}

	_, err = os.Stat(filepath.Join(dir, "go.mod"))
	if err != nil {
		t.Fatalf("the tests don't run in the module's tree: %v", err)
	}

	return dir
}

// files reads what is or would be committed; where git can't tell, as in an unpacked archive, everything that is there.
func files(t *testing.T) map[string][]byte {
	t.Helper()

	dir := root(t)

	names, err := gitFiles(t, dir)
	if err != nil {
		t.Logf("git lists no files (%v), so the folder is walked", err)

		names, err = walk(dir)
	}

	if err != nil {
		t.Fatal(err)
	}

	contents := map[string][]byte{}

	for _, name := range names {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			continue // deleted but not committed yet, or a link to a folder
		}

		contents[name] = content
	}

	if len(contents["go.mod"]) == 0 {
		t.Fatal("go.mod is not among the files")
	}

	return contents
}

func gitFiles(t *testing.T, dir string) ([]string, error) {
	t.Helper()

	command := exec.CommandContext(t.Context(), "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	command.Dir = dir

	out, err := command.Output()

	return strings.Split(strings.TrimRight(string(out), "\x00"), "\x00"), err
}

func walk(dir string) ([]string, error) {
	var names []string

	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains([]string{".git", "bin", ".cache", ".task", ".archon", "node_modules"}, entry.Name()):
			return filepath.SkipDir
		case entry.Type().IsRegular():
			name, err := filepath.Rel(dir, path)
			names = append(names, name)

			return err
		default:
			return nil
		}
	})

	return names, err
}
