package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// Error says everything that is wrong with the environment, so that one look mends it all.
type Error struct {
	// Problems are sentences, each naming its variable; none holds a secret.
	Problems []string
}

// Error returns the problems, one a line.
func (e *Error) Error() string { return strings.Join(e.Problems, "\n") }

// Warning is something that does not stop the start but is probably not meant.
type Warning struct {
	// Variable is the full name of the environment variable.
	Variable string
	// Message is a sentence that names it.
	Message string
}

// String returns the sentence.
func (w Warning) String() string { return w.Message }

// environment maps variables to values without surrounding space.
type environment map[string]string

// Load reads the settings from environ, a list of NAME=value as [os.Environ] returns it. An empty value counts as
// not set. The error is an [*Error] with every problem; the warnings are good in either case, sorted by variable.
func Load(environ []string) (Config, []Warning, error) {
	env := parseEnviron(environ)
	table := settings(env)

	var (
		cfg      Config
		problems []string
	)

	for _, s := range table {
		variable, raw := s.lookup(env)
		if raw == "" {
			continue
		}

		if err := s.parse(&cfg, raw); err != nil {
			problems = append(problems, fmt.Sprintf("%s %s.", variable, err))
		}
	}

	problems = append(problems, checkVault(env)...)
	warnings := slices.Concat(unknownVariables(env, table), insecureIssuer(cfg.OIDCIssuer), unusedVault(env))
	slices.SortStableFunc(warnings, func(a, b Warning) int { return cmp.Compare(a.Variable, b.Variable) })

	if len(problems) > 0 {
		return Config{}, warnings, &Error{Problems: problems}
	}

	return cfg, warnings, nil
}

// lookup returns the value that counts and the variable to blame for it.
func (s setting) lookup(env environment) (variable, raw string) {
	if raw = env[s.variable()]; raw != "" {
		return s.variable(), raw
	}

	if raw = env[s.standard]; s.standard != "" && raw != "" {
		return s.standard, raw
	}

	return s.variable(), s.def
}

// parseEnviron lets the first of two equal names win, as os.Getenv does.
func parseEnviron(environ []string) environment {
	env := make(environment, len(environ))

	for _, entry := range environ {
		name, value, ok := strings.Cut(entry, "=")
		if _, seen := env[name]; !ok || seen {
			continue
		}

		env[name] = strings.TrimSpace(value)
	}

	return env
}

// unknownVariables warns of names with our prefix that no setting has, most of them misspelt.
func unknownVariables(env environment, table []setting) []Warning {
	var warnings []Warning

	for name := range env {
		if !strings.HasPrefix(name, prefix) || slices.ContainsFunc(table, func(s setting) bool { return s.variable() == name }) {
			continue
		}

		warnings = append(warnings, Warning{
			Variable: name,
			Message:  fmt.Sprintf("%s is not a setting of Archon and has no effect; the nearest is %s (see `archon help config`).", quoteName(name), nearest(name, table)),
		})
	}

	return warnings
}

// nearest is the variable that takes the fewest edits to reach from name; of several the first in the table.
func nearest(name string, table []setting) string {
	distance := func(s setting) int { return levenshtein.ComputeDistance(clip(name), s.variable()) }

	return slices.MinFunc(table, func(a, b setting) int { return cmp.Compare(distance(a), distance(b)) }).variable()
}

// quoteName shows a name that is not ours without letting it break the line.
func quoteName(name string) string {
	if isPrintable(name) {
		return clip(name)
	}

	return fmt.Sprintf("%q", clip(name))
}

// clip bounds a name whose length is in the hands of the environment.
func clip(name string) string { return name[:min(len(name), maxTextBytes)] }
