package projections

import (
	"strings"

	"github.com/archonhq/archon/domain/providers"
)

// Teach is what the runner does with its connections.
var Teach = teach

// RecordsIn is how many rows an argument of a statement has.
func RecordsIn(argument any) int { return argument.(*records).count }

// Pointer is a payload as folds take it.
var Pointer = pointer

// PlanByIndex is what the runner sets before it reads.
const PlanByIndex = planByIndex

// Numerics is histograms as the argument for a numeric[].
func Numerics(histograms ...*providers.Histogram) any {
	var list numerics
	for _, h := range histograms {
		list.add(h.AppendCounts(nil))
	}
	return &list
}

// ReadStatements are the statements that events are read by.
func ReadStatements() []string { return []string{readEvents, foldEvents} }

// MoreArguments is what a read statement takes behind the arguments that all take.
func MoreArguments(sql string) string {
	if strings.Contains(sql, "$7") {
		return ", 1000"
	}
	return ""
}
