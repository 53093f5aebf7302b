// Package costs is the context of what calls have cost: the differences that are booked when calls are priced again, and the
// arithmetic of what days have cost, which of them stand out, and what the days to come may cost.
//
// It is pure. Differences are exact, whole numbers of 10⁻¹⁰ USD. The arithmetic of days takes and gives amounts; in between are
// means and squares of them, estimates, for which floats are good enough, and nothing there adds up what anybody pays.
package costs

import (
	"math"
	"time"

	"github.com/archonhq/archon/domain"
)

// Series is what consecutive days have cost, in UTC, from the day of the tenant's first call on. A day without calls is 0.
type Series struct {
	// First is the start of the first day.
	First time.Time
	Spend []domain.Amount
}

// DayOf is the start of the day (UTC) of a moment.
func DayOf(at time.Time) time.Time {
	year, month, day := at.UTC().Date()
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
}

// Day is the start of the day at an index.
func (s Series) Day(index int) time.Time { return s.First.AddDate(0, 0, index) }

// oneDay is how long every day is in UTC.
const oneDay = 24 * time.Hour

// index is where a day is, or would be.
func (s Series) index(day time.Time) int { return int(day.Sub(s.First) / oneDay) }

// window are the at most n days of the series that end before a day.
func (s Series) window(before, n int) []domain.Amount {
	before = min(max(before, 0), len(s.Spend))
	return s.Spend[max(before-n, 0):before]
}

// Rules of anomalies.
const (
	// baselineDays is how many days before a day it is compared with, minBaseline how many of them there must be.
	baselineDays, minBaseline = 30, 14
	// threshold is how many standard deviations above the mean are too much.
	threshold = 3
	// A standard deviation counts as at least floorShare of the mean and floorAmount: where all days were alike, the
	// smallest difference would be an anomaly otherwise, and an alarm about a cent is none.
	floorShare  = 0.05
	floorAmount = domain.USD / 100
)

// Anomaly is a day that cost more than the days before it let expect.
type Anomaly struct {
	Day   time.Time
	Spend domain.Amount
	// Expected is the mean of the 30 days before, Sigma their standard deviation, or its floor where that is more.
	Expected, Sigma domain.Amount
}

// Anomalies are the days from one day until before another that cost more than mean + 3 standard deviations of the 30 days
// before each. A day with less than 14 days before it is none.
func (s Series) Anomalies(from, until time.Time) []Anomaly {
	found := []Anomaly{}
	for i := max(s.index(from), minBaseline); i < min(s.index(until), len(s.Spend)); i++ {
		mean, sigma := deviation(s.window(i, baselineDays))
		sigma = max(sigma, floorShare*mean, float64(floorAmount))
		if float64(s.Spend[i]) > mean+threshold*sigma {
			found = append(found, Anomaly{Day: s.Day(i), Spend: s.Spend[i], Expected: amountOf(mean), Sigma: amountOf(sigma)})
		}
	}
	return found
}

// deviation is mean and sample standard deviation; there must be at least two amounts.
func deviation(amounts []domain.Amount) (mean, sigma float64) {
	for _, amount := range amounts {
		mean += float64(amount)
	}
	mean /= float64(len(amounts))
	var squares float64
	for _, amount := range amounts {
		squares += square(float64(amount) - mean)
	}
	return mean, math.Sqrt(squares / float64(len(amounts)-1))
}

func square(x float64) float64 { return x * x }

// amountOf rounds to an amount; what is beyond the largest one is that.
func amountOf(units float64) domain.Amount {
	const largest = math.MaxInt64
	if units >= largest {
		return largest
	}
	return domain.Amount(math.Round(max(units, 0)))
}
