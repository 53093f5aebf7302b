package budgets

import (
	"time"
)

// Period is what of the calendar a budget is for.
type Period string

// The periods of budgets. Quarters begin in January, April, July and October.
const (
	Monthly   Period = "monthly"
	Quarterly Period = "quarterly"
)

// months is how many months a period has.
func (p Period) months() int {
	if p == Quarterly {
		return 3
	}
	return 1
}

// Window is the time from one moment until before another.
type Window struct{ Start, End time.Time }

// Contains tells whether a moment is in the window.
func (w Window) Contains(at time.Time) bool { return !at.Before(w.Start) && at.Before(w.End) }

// Window is the period that a moment is in, by the calendar of a time zone; nil is UTC. Periods follow each other without gap or
// overlap.
func (p Period) Window(at time.Time, zone *time.Location) Window {
	if zone == nil {
		zone = time.UTC
	}
	year, month, _ := at.In(zone).Date()
	first := (int(month)-1)/p.months()*p.months() + 1
	w := Window{firstOf(year, first, zone), firstOf(year, first+p.months(), zone)}
	// Where clocks are put back over the start of a month, moments after it have the date of the day before.
	for !at.Before(w.End) {
		first += p.months()
		w = Window{w.End, firstOf(year, first+p.months(), zone)}
	}
	return w
}

// firstOf is the first moment of a month where a zone is; months beyond December are those of the years to come. Midnight may
// be skipped there, or come twice.
func firstOf(year, month int, zone *time.Location) time.Time {
	at := time.Date(year, time.Month(month), 1, 0, 0, 0, 0, zone)
	began, ends := at.ZoneBounds()
	switch {
	case at.Day() != 1: // there is no midnight, and this is before the clocks were put on
		at = ends
	case began.IsZero():
	case at.Hour() != 0 || at.Minute() != 0: // or after
		at = began
	default:
		_, now := at.Zone()
		_, before := began.Add(-1).Zone()
		earlier := at.Add(time.Duration(now-before) * time.Second)
		if earlier.Before(began) && before > now && earlier.Day() == 1 {
			at = earlier
		}
	}
	return at.UTC()
}
