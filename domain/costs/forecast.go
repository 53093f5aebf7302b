package costs

import (
	"math"
	"time"

	"github.com/archonhq/archon/domain"
)

// Rules of forecasts.
const (
	// fitDays is how many complete days before today a forecast rests on, minFit how many of them there must be.
	fitDays, minFit = 30, 7
)

// Forecast is what the rest of a month may cost.
type Forecast struct {
	// EndOfMonth is what the whole month is expected to cost: its days up to today as they were, and the others as expected.
	EndOfMonth domain.Amount
	// Confidence is R² of the line, from 0 to 1: how much of the difference between days it explains.
	Confidence float64
	// Daily are the days from today to the end of the month.
	Daily []Expectation
}

// Expectation is what a day is expected to cost; the day itself will be between Low and High in 19 cases of 20, if the days
// go on to scatter around a line as they did.
type Expectation struct {
	Day                 time.Time
	Expected, Low, High domain.Amount
}

// Forecast fits a line to the last 30 complete days by least squares, and extends it to the end of the month of now. ok is
// false where there are fewer than 7 days. Today's calls count where they come to more than the line says already; nothing
// is expected to cost less than nothing.
func (s Series) Forecast(now time.Time) (forecast Forecast, ok bool) {
	today := DayOf(now)
	at := s.index(today)
	fitted := s.window(at, fitDays)
	if len(fitted) < minFit || at > len(s.Spend) {
		return Forecast{}, false
	}
	fit := fitLine(fitted)
	forecast.Confidence = fit.r2
	first := time.Date(today.Year(), today.Month(), 1, 0, 0, 0, 0, time.UTC)
	for i := max(s.index(first), 0); i < at; i++ {
		forecast.EndOfMonth = plus(forecast.EndOfMonth, s.Spend[i])
	}
	for day := today; day.Month() == today.Month(); day = day.AddDate(0, 0, 1) {
		x := float64(len(fitted) + s.index(day) - at)
		y, half := fit.at(x)
		expected := Expectation{Day: day, Expected: amountOf(y), Low: amountOf(y - half), High: amountOf(y + half)}
		if i := s.index(day); i < len(s.Spend) {
			expected = expected.atLeast(s.Spend[i])
		}
		forecast.Daily = append(forecast.Daily, expected)
		forecast.EndOfMonth = plus(forecast.EndOfMonth, expected.Expected)
	}
	return forecast, true
}

// atLeast is the expectation of a day that has cost so much already.
func (e Expectation) atLeast(spent domain.Amount) Expectation {
	e.Expected, e.Low, e.High = max(e.Expected, spent), max(e.Low, spent), max(e.High, spent)
	return e
}

// plus adds amounts that are not negative; what is beyond the largest one is that.
func plus(a, b domain.Amount) domain.Amount {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// line is the least-squares line through (0, y0), (1, y1) … with what its interval needs.
type line struct {
	intercept, slope, r2 float64
	n, meanX, squaresX   float64
	// residual is the standard error of the points around the line.
	residual float64
}

func fitLine(ys []domain.Amount) line {
	l := line{n: float64(len(ys))}
	var meanY float64
	for x, y := range ys {
		l.meanX += float64(x) / l.n
		meanY += float64(y)
	}
	meanY /= l.n
	var products, squaresY float64
	for x, y := range ys {
		dx, dy := float64(x)-l.meanX, float64(y)-meanY
		products += dx * dy
		l.squaresX += dx * dx
		squaresY += dy * dy
	}
	l.slope = products / l.squaresX
	l.intercept = meanY - l.slope*l.meanX
	var errors float64
	for x, y := range ys {
		errors += square(float64(y) - l.intercept - l.slope*float64(x))
	}
	l.residual = math.Sqrt(errors / (l.n - 2))
	l.r2 = 1               // days that are all alike are explained
	const rounding = 1e-20 // what differences between equal days may come to, of the square of their mean
	if squaresY > rounding*l.n*square(meanY) {
		l.r2 = min(max(1-errors/squaresY, 0), 1)
	}
	return l
}

// at is the line's y at x, and how far from it a new point is at most in 19 cases of 20.
func (l line) at(x float64) (y, half float64) {
	spread := math.Sqrt(1 + 1/l.n + square(x-l.meanX)/l.squaresX)
	return l.intercept + l.slope*x, studentT975(int(l.n)-2) * l.residual * spread
}

// studentT975 is the 97.5th percentile of Student's t with the degrees of freedom that a fit can have, 5 to 28.
func studentT975(freedom int) float64 {
	table := [...]float64{
		2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281, 2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199,
		2.1098, 2.1009, 2.0930, 2.0860, 2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484,
	}
	return table[min(max(freedom-(minFit-2), 0), len(table)-1)]
}
