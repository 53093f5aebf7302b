package alerts

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/archonhq/archon/domain"
)

// Budget is what an alert about a budget is about: a period of it, and how it stood when the alert was raised.
type Budget struct {
	Level, SubjectID, Period string
	Start, End               time.Time
	// Spent is what had been spent of Budget, which warns and blocks at these; Blocks is 0 where it does not.
	Spent, Budget, Warns, Blocks domain.Amount
}

// Warning is the alert that a budget has been spent up to its warn threshold.
func (b Budget) Warning() Alert {
	return b.alert(BudgetWarning, b.Warns, "A budget has been spent up to its warn threshold; see GET /api/v1/cost/budget.")
}

// Exhausted is the alert that a budget refuses calls.
func (b Budget) Exhausted() Alert {
	return b.alert(BudgetExhausted, b.Blocks, "A budget is used up, and calls are refused until it is raised or its next period begins; see GET /api/v1/cost/budget.")
}

func (b Budget) alert(kind Kind, threshold domain.Amount, message string) Alert {
	return Alert{Kind: kind, Subject: BudgetSubject(b.Level, b.SubjectID, b.Period, b.Start), Message: message, Details: map[string]any{
		"level": b.Level, "subject_id": b.SubjectID, "period": b.Period, "period_start": b.Start.UTC().Format(time.RFC3339),
		detailEnd: b.End.UTC().Format(time.RFC3339), "budget_usd": b.Budget.Number(), detailThreshold: threshold.Number(), "spent_usd": b.Spent.Number(),
	}}
}

// Names of details that are read again.
const detailThreshold, detailEnd = "threshold_usd", "period_end"

// ThresholdOf is the threshold that an alert about a budget says was reached, by its details; 0 where they don't.
func ThresholdOf(details json.RawMessage) domain.Amount {
	threshold, _ := domain.ParseAmount(string(detail(details, detailThreshold)), domain.AmountPlaces)
	return threshold
}

// PeriodEndOf is the end of the period that an alert about a budget is about, by its details; the zero time where they don't say.
func PeriodEndOf(details json.RawMessage) time.Time {
	var end time.Time
	_ = json.Unmarshal(detail(details, detailEnd), &end)
	return end
}

func detail(details json.RawMessage, name string) json.RawMessage {
	var read map[string]json.RawMessage
	_ = json.Unmarshal(details, &read)
	return read[name]
}

// BudgetSubject is the subject of alerts about a period of a budget.
func BudgetSubject(level, subjectID, period string, start time.Time) string {
	return strings.Join([]string{level, period, start.UTC().Format(time.RFC3339), subjectID}, "/")
}
