package readapi

import "time"

// SourceOf is what answers for a span of time as of a position.
func SourceOf(from, until time.Time, position *int64, dimensions []string) string {
	return sourceOf(span{from, until}, position, dimensions)
}
