package keys

import (
	"strings"
	"time"
	"unicode"

	"github.com/archonhq/archon/domain"
)

// Bounds of a key's configuration; the document says the same.
const (
	maxNameRunes       = 200
	maxDepartmentRunes = 200
	maxModels          = 1000
	maxModelBytes      = 200
	maxRPM             = 1_000_000_000
	// MaxBudgetNanoUSD is what can be counted to the nano-USD in doubles, which is what Redis counts in (gateway/budget).
	MaxBudgetNanoUSD = 9_007_199 * int64(domain.USD/domain.NanoUSD)
)

// Config is what an administrator decides about a key.
type Config struct {
	Name string `json:"name"`
	// DepartmentID is whose spending the key's calls are; nil is nobody's in particular.
	DepartmentID *string `json:"department_id"`
	// Models are the models that may be called, by exact name or by a prefix with a trailing *; none stands for all.
	Models []string `json:"models"`
	// RateLimitRPM is requests a minute; nil is no limit.
	RateLimitRPM *int64 `json:"rate_limit_rpm"`
	// BudgetNanoUSD is in 10⁻⁹ USD; nil is no limit.
	BudgetNanoUSD *int64 `json:"budget_nano_usd"`
	// ExpiresAt is the first moment at which the key does not work any more; nil is never.
	ExpiresAt *time.Time `json:"expires_at"`
}

// normalised is the form in which a configuration is stored: no space around the name, a list that is never null, and
// times as PostgreSQL keeps them.
func (c Config) normalised() Config {
	c.Name = strings.TrimSpace(c.Name)
	c.Models = append([]string{}, c.Models...)
	if c.ExpiresAt != nil {
		at := c.ExpiresAt.UTC().Truncate(time.Microsecond)
		c.ExpiresAt = &at
	}
	return c
}

// problem refuses a configuration that makes no sense at a time, with the first thing that is wrong with each field.
func (c Config) problem(now time.Time) error {
	details := map[string]any{}
	note := func(field, reason string) {
		if reason != "" {
			details[field] = reason
		}
	}
	note("name", domain.NameProblem(c.Name, maxNameRunes))
	if c.DepartmentID != nil {
		note("department_id", domain.NameProblem(*c.DepartmentID, maxDepartmentRunes))
	}
	note("models", modelsProblem(c.Models))
	if c.RateLimitRPM != nil && (*c.RateLimitRPM < 1 || *c.RateLimitRPM > maxRPM) {
		note("rate_limit_rpm", "must be between 1 and 1000000000, or null for no limit")
	}
	if c.BudgetNanoUSD != nil && (*c.BudgetNanoUSD < 0 || *c.BudgetNanoUSD > MaxBudgetNanoUSD) {
		note("budget_usd", "must be between 0 and 9007199, or null for no limit")
	}
	if c.ExpiresAt != nil {
		note("expires_at", expiryProblem(*c.ExpiresAt, now))
	}
	return domain.InvalidFields("The key's configuration is not valid.", details)
}

// latestExpiry is the end of what times are written as everywhere.
var latestExpiry = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC) //nolint:gochecknoglobals // a constant

func expiryProblem(at, now time.Time) string {
	switch {
	case !at.After(now):
		return "must be in the future"
	case at.After(latestExpiry):
		return "must be before the year 10000; leave it out for a key that does not expire"
	}
	return ""
}

func modelsProblem(models []string) string {
	if len(models) > maxModels {
		return "must have at most 1000 entries"
	}
	seen := map[string]bool{}
	for _, model := range models {
		switch {
		case strings.TrimSpace(model) == "":
			return "must not contain empty entries"
		case len(model) > maxModelBytes:
			return "must not contain entries longer than 200 bytes"
		case strings.ContainsFunc(model, unicode.IsControl):
			return "must not contain control characters"
		case strings.Contains(strings.TrimSuffix(model, "*"), "*"):
			return "may have a * at the end of an entry only"
		case seen[model]:
			return "must not contain the same entry twice"
		}
		seen[model] = true
	}
	return ""
}
