package archtest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/archonhq/archon"

// rule allows the packages that match pkg to import those that match one of imports.
type rule struct {
	pkg     string
	imports []string
}

func allow(imports ...string) []string { return imports }

// graph maps a package to what its ordinary files import: paths within the module ("domain/providers"), and full paths
// of everything else.
type graph map[string][]string

func TestPackagesImportOnlyWhatThePolicyAllows(t *testing.T) {
	t.Parallel()

	imports := load(t)
	if len(imports["domain"]) == 0 && len(imports["cmd/archon"]) == 0 {
		t.Fatal("go list found neither domain nor cmd/archon: the test looks at the wrong tree")
	}

	for _, violation := range violations(policy, imports) {
		t.Error(violation)
	}
}

// A test of rules is worth what it refuses, so each rule is shown an import that it must refuse.
func TestPolicyRefusesPlantedImports(t *testing.T) {
	t.Parallel()

	for _, planted := range []struct{ from, to string }{
		{"domain", "eventstore"},
		{"domain", "internal/config"},
		{"domain", "domain/providers"},
		{"domain/providers", "domain/audit"},
		{"domain/providers", "eventstore"},
		{"domain/providers", "internal/httpx"},
		{"domain/providers", "github.com/jackc/pgx/v5"},
		{"eventstore", "domain"},
		{"eventstore", "domain/providers"},
		{"eventstore", "internal/config"},
		{"eventstore/eventstoretest", "internal/testdb"},
		{"commands", "projections"},
		{"commands", "readapi"},
		{"commands", "gateway"},
		{"projections", "commands"},
		{"projections", "readapi"},
		{"projections", "api"},
		{"reactions", "commands"},
		{"reactions", "gateway"},
		{"readapi", "projections"},
		{"readapi", "commands"},
		{"gateway", "commands"},
		{"gateway", "eventstore"},
		{"api", "domain"},
		{"internal/httpx", "commands"},
		{"internal/secrets", "domain"},
		{"internal/pgembed", "cmd/archon"},
		{"migrations", "internal/config"},
		{"tools/cover", "eventstore"},
		{"newcomer", "domain"},
	} {
		if found := violations(policy, graph{planted.from: {"fmt", planted.to}}); len(found) != 1 {
			t.Errorf("%s → %s: want one violation, got %q", planted.from, planted.to, found)
		}
	}
}

func TestPolicyAllowsWhatTheArchitectureNames(t *testing.T) {
	t.Parallel()

	found := violations(policy, graph{
		"cmd/archon":       {"fmt", "commands", "projections", "readapi", "reactions", "gateway", "migrations", "internal/config"},
		"domain/providers": {"net/url", "github.com/google/uuid", "domain"},
		"commands":         {"domain", "domain/providers", "eventstore", "api", "internal/httpx"},
		"projections":      {"domain", "domain/providers", "eventstore", "github.com/jackc/pgx/v5"},
		"reactions":        {"domain/providers", "eventstore", "projections", "internal/cache"},
		"readapi":          {"domain", "eventstore", "api", "internal/httpx"},
		"gateway":          {"domain", "internal/netguard"},
		"internal/httpx":   {"api", "domain", "eventstore", "internal/auth"},
	})
	if len(found) > 0 {
		t.Errorf("want none, got %q", found)
	}
}

// violations lists the imports in imports that rules don't allow, in order of the packages' names.
func violations(rules []rule, imports graph) []string {
	var found []string

	for _, pkg := range slices.Sorted(maps.Keys(imports)) {
		at := slices.IndexFunc(rules, func(r rule) bool { return matches(r.pkg, pkg) })
		if at < 0 {
			found = append(found, pkg+" has no line in the import policy: add one that says what it may import")

			continue
		}

		for _, imported := range imports[pkg] {
			if !allowed(rules[at], pkg, imported, imports) {
				found = append(found, fmt.Sprintf("%s imports %s, which its policy (%s → %q) does not allow",
					pkg, imported, rules[at].pkg, rules[at].imports))
			}
		}
	}

	return found
}

func allowed(r rule, pkg, imported string, imports graph) bool {
	if isOurs(imported, imports) {
		return slices.ContainsFunc(r.imports, func(pattern string) bool { return matches(pattern, imported) })
	}

	isStandard := !strings.Contains(strings.Split(imported, "/")[0], ".")

	return isStandard || !matches("domain/**", pkg) || slices.Contains(domainMayUse, imported)
}

// isOurs tells the module's own packages from the standard library's: both have no dot in their first element.
func isOurs(imported string, imports graph) bool {
	_, listed := imports[imported]

	return listed || slices.ContainsFunc(policy, func(r rule) bool { return matches(r.pkg, imported) })
}

// matches says whether path is of the pattern's shape; "a/**" matches a too.
func matches(pattern, path string) bool {
	expression := regexp.QuoteMeta(pattern)
	expression = strings.ReplaceAll(expression, `/\*\*`, `(/.*)?`)
	expression = strings.ReplaceAll(expression, `\*\*`, `.*`)
	expression = strings.ReplaceAll(expression, `\*`, `[^/]+`)

	return regexp.MustCompile("^" + expression + "$").MatchString(path)
}

// load asks the go command for the module's packages; -e, so that a package that doesn't compile is still looked at.
func load(t *testing.T) graph {
	t.Helper()

	command := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Imports", "./...")
	command.Dir = root(t)

	var stderr bytes.Buffer

	command.Stderr = &stderr

	out, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}

	imports := graph{}

	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var pkg struct {
			ImportPath string
			Imports    []string
		}

		err = decoder.Decode(&pkg)
		if errors.Is(err, io.EOF) {
			return imports
		}

		if err != nil {
			t.Fatalf("read go list's answer: %v", err)
		}

		for i, imported := range pkg.Imports {
			pkg.Imports[i] = strings.TrimPrefix(imported, module+"/")
		}

		imports[strings.TrimPrefix(pkg.ImportPath, module+"/")] = pkg.Imports
	}
}
