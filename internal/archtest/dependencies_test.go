package archtest_test

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
)

// Every direct dependency has been thought about once: what it is for, its licence, why not our own code.
func TestEveryDirectDependencyIsExplained(t *testing.T) {
	t.Parallel()

	file, err := modfile.Parse("go.mod", []byte(read(t, "go.mod")), nil)
	if err != nil {
		t.Fatalf("read go.mod: %v", err)
	}

	explained := map[string]bool{}

	for line := range strings.Lines(read(t, "docs/dependencies.md")) {
		columns := strings.Split(line, "|")
		if len(columns) < 2 {
			continue
		}

		for name := range strings.SplitSeq(columns[1], ",") {
			explained[strings.Fields(name + " -")[0]] = true
		}
	}

	for _, required := range file.Require {
		if !required.Indirect && !explained[required.Mod.Path] {
			t.Errorf("docs/dependencies.md has no line for %s", required.Mod.Path)
		}
	}

	for _, tool := range file.Tool {
		ours := strings.HasPrefix(tool.Path, module+"/")

		if !ours && !slices.ContainsFunc(file.Require, func(r *modfile.Require) bool {
			return strings.HasPrefix(tool.Path, r.Mod.Path) && explained[r.Mod.Path]
		}) {
			t.Errorf("docs/dependencies.md has no line for the tool %s", tool.Path)
		}
	}
}
