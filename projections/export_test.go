package projections

import "github.com/archonhq/archon/domain/providers"

// TeachNumerics is what the runner does with its connections.
var TeachNumerics = teachNumerics //nolint:gochecknoglobals // for tests

// Numerics is histograms as the argument for a numeric[].
func Numerics(histograms ...*providers.Histogram) any {
	var list numerics
	for _, h := range histograms {
		list.add(h.AppendCounts(nil))
	}
	return &list
}

// Pointer is a payload as folds take it.
var Pointer = pointer //nolint:gochecknoglobals // for tests
