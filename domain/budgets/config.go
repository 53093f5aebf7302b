package budgets

import (
	"errors"
	"fmt"
	"strings"

	"github.com/archonhq/archon/domain"
)

// Percent is in hundredths of a percent: 8000 is 80 %.
type Percent int64

const (
	// OnePercent is 1 %.
	OnePercent Percent = 100

	// DefaultWarn is the warn threshold where none is named.
	DefaultWarn = 80 * OnePercent
	// DefaultBlock is the block threshold where none is named.
	DefaultBlock = 100 * OnePercent

	// percentPlaces are the decimal places of a Percent.
	percentPlaces = 2
	maxPercent    = 1000 * OnePercent
)

var errPercent = errors.New("must be a number of percent")

// ParsePercent reads percent in the form of a JSON number; its errors are for the one who sent it.
func ParsePercent(text string) (Percent, error) {
	parsed, err := domain.ParseAmount(text, percentPlaces)
	if errors.Is(err, domain.ErrNotAnAmount) {
		err = errPercent
	}
	return Percent(parsed / (domain.USD / domain.Amount(OnePercent))), err
}

// String is the number of percent, with as few decimal places as there can be.
func (p Percent) String() string {
	text := fmt.Sprintf("%d.%02d", p/OnePercent, p%OnePercent)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}

// Bounds of a budget; the document says the same.
const (
	maxSubjectBytes    = 200
	maxDepartmentRunes = 200
	// MaxBudget is the most that can be counted to the nano-USD in doubles, which is what Redis counts in (gateway/budget).
	MaxBudget = 9_007_199 * domain.USD
	// MicroUSD is the finest that a budget can be.
	MicroUSD = 1000 * domain.NanoUSD
)

// Config is what an administrator decides about a budget.
type Config struct {
	// Department is the name that a department's budget is shown with, where there is no better one; may be empty.
	Department string `json:"department,omitempty"`
	// Budget is what may be spent in a period, in whole micro-USD.
	Budget domain.Amount `json:"budget_usd"`
	Period Period        `json:"period"`
	// Warn is how much of the budget has to be spent for a warning, Block how much may be spent: nil for a budget that only warns.
	Warn  Percent  `json:"warn_threshold_bp"`
	Block *Percent `json:"block_threshold_bp"`
}

func (c Config) equal(other Config) bool {
	sameBlock := c.Block == other.Block || (c.Block != nil && other.Block != nil && *c.Block == *other.Block)
	return sameBlock && c.Department == other.Department && c.Budget == other.Budget && c.Period == other.Period && c.Warn == other.Warn
}

// problem refuses a budget that makes no sense, with what is wrong with each field.
func (c Config) problem(subject Subject) error {
	details := map[string]any{}
	note := func(field string, wrong bool, reason string) {
		if _, found := details[field]; wrong && !found {
			details[field] = reason
		}
	}
	idProblem := subject.problem()
	note(string(subject.Level)+"_id", idProblem != "", idProblem)
	if c.Department != "" {
		reason := domain.NameProblem(c.Department, maxDepartmentRunes)
		note("department", reason != "", reason)
		note("department", subject.Level != Department, "is for the budgets of departments only")
	}
	note("budget_usd", c.Budget < 0 || c.Budget > MaxBudget, "must be between 0 and 9007199")
	note("budget_usd", c.Budget%MicroUSD != 0, "must have at most 6 decimal places")
	note("period", c.Period != Monthly && c.Period != Quarterly, "must be monthly or quarterly")
	note("warn_threshold_pct", c.Warn <= 0 || c.Warn > maxPercent, "must be above 0, and at most 1000")
	if c.Block != nil {
		note("block_threshold_pct", *c.Block <= 0 || *c.Block > maxPercent, "must be above 0 and at most 1000, or null for a budget that only warns")
		note("warn_threshold_pct", c.Warn > *c.Block, "must not be above block_threshold_pct")
		note("block_threshold_pct", len(details) == 0 && c.share(*c.Block) > MaxBudget, "must not come to more than 9007199 USD")
	}
	return domain.InvalidFields("The budget is not valid.", details)
}

// share is so much of the budget, exactly: micro-USD times hundredths of a percent are 10⁻¹⁰ USD.
func (c Config) share(percent Percent) domain.Amount {
	return c.Budget / MicroUSD * domain.Amount(percent)
}

// WarnsAt is from how much spending on the budget warns.
func (c Config) WarnsAt() domain.Amount { return c.share(c.Warn) }

// BlocksAt is how much may be spent; false for a budget that only warns.
func (c Config) BlocksAt() (limit domain.Amount, blocks bool) {
	if c.Block == nil {
		return 0, false
	}
	return c.share(*c.Block), true
}

// Used is how much of the budget has been spent, rounded down, so that nothing looks used up before it is. A budget of
// nothing is always used up.
func (c Config) Used(spent domain.Amount) Percent {
	if c.Budget < MicroUSD {
		return 100 * OnePercent
	}
	return Percent(spent / (c.Budget / MicroUSD))
}

// Status is how it stands with a budget.
type Status string

// The states of a budget in its present period.
const (
	OK      Status = "ok"
	Warned  Status = "warn"
	Blocked Status = "blocked"
)

// StatusOf is how it stands with the budget when so much has been spent. refused says that a call has been refused for want of
// what was left, which nothing that costs as much can change.
func (c Config) StatusOf(spent domain.Amount, refused bool) Status {
	limit, blocks := c.BlocksAt()
	switch {
	case blocks && (refused || spent >= limit):
		return Blocked
	case spent >= c.WarnsAt():
		return Warned
	}
	return OK
}
