package costs_test

import (
	"math"
	"testing"
	"time"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/costs"
)

func date(text string) time.Time {
	day, err := time.Parse(time.DateOnly, text)
	if err != nil {
		panic(err)
	}
	return day
}

// days is a series of n days from a day on.
func days(first string, n int, spend func(i int) float64) costs.Series {
	s := costs.Series{First: date(first)}
	for i := range n {
		s.Spend = append(s.Spend, domain.Amount(math.Round(spend(i)*float64(domain.USD))))
	}
	return s
}

func constant(dollars float64) func(int) float64 { return func(int) float64 { return dollars } }

// but is a series with one day changed.
func but(s costs.Series, day string, dollars float64) costs.Series {
	s.Spend[int(date(day).Sub(s.First).Hours()/24)] = domain.Amount(dollars * float64(domain.USD))
	return s
}

func TestAnomalies(t *testing.T) {
	t.Parallel()
	wave := func(i int) float64 { return 10 + float64(i%2) } // mean 10.5, sigma 0.5085 over 30 days
	tests := map[string]struct {
		series costs.Series
		want   []string
	}{
		"none in even days":                         {days("2026-01-01", 60, constant(10)), nil},
		"a cent more than even days is none":        {but(days("2026-01-01", 60, constant(10)), "2026-02-10", 10.01), nil},
		"at the floor of 5 % of the mean":           {but(days("2026-01-01", 60, constant(10)), "2026-02-10", 11.5), nil},
		"above the floor of 5 %":                    {but(days("2026-01-01", 60, constant(10)), "2026-02-10", 11.51), []string{"2026-02-10"}},
		"at the floor of a cent":                    {but(days("2026-01-01", 60, constant(0)), "2026-02-10", 0.03), nil},
		"above the floor of a cent":                 {but(days("2026-01-01", 60, constant(0)), "2026-02-10", 0.031), []string{"2026-02-10"}},
		"within 3 sigma plus mean":                  {but(days("2026-01-01", 60, wave), "2026-02-10", 12.07), nil},
		"beyond 3 sigma plus mean":                  {but(days("2026-01-01", 60, wave), "2026-02-10", 12.1), []string{"2026-02-10"}},
		"with 13 days before it, too early to tell": {but(days("2026-01-20", 60, constant(10)), "2026-02-02", 100), nil},
		"with 14 days before it":                    {but(days("2026-01-20", 60, constant(10)), "2026-02-03", 100), []string{"2026-02-03"}},
		"the day itself is not in its own baseline": {but(days("2026-01-01", 45, constant(1)), "2026-02-14", 50), []string{"2026-02-14"}},
		"an earlier one widens what is expected":    {but(but(days("2026-01-01", 60, constant(10)), "2026-02-10", 1000), "2026-02-11", 500), []string{"2026-02-10"}},
		"31 days later it is forgotten":             {but(but(days("2025-12-01", 90, constant(10)), "2026-01-09", 1000), "2026-02-09", 50), []string{"2026-02-09"}},
		"30 days later it is not":                   {but(but(days("2025-12-01", 90, constant(10)), "2026-01-09", 1000), "2026-02-08", 50), nil},
		"days of other months are not asked for":    {but(days("2026-01-01", 60, constant(10)), "2026-01-31", 100), nil},
		"a low day is none":                         {but(days("2026-01-01", 60, constant(10)), "2026-02-10", 0), nil},
		"nothing is known":                          {costs.Series{First: date("2026-02-10")}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, anomaly := range test.series.Anomalies(date("2026-02-01"), date("2026-03-01")) {
				got = append(got, anomaly.Day.Format(time.DateOnly))
				if float64(anomaly.Spend) <= float64(anomaly.Expected)+3*float64(anomaly.Sigma) {
					t.Errorf("%v is not above what it says to be expected", anomaly)
				}
			}
			if len(got) != len(test.want) || (len(got) == 1 && got[0] != test.want[0]) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestAnomalySaysWhatWasExpected(t *testing.T) {
	t.Parallel()
	series := but(days("2026-01-01", 60, func(i int) float64 { return 10 + float64(i%2) }), "2026-02-10", 100)
	found := series.Anomalies(date("2026-02-01"), date("2026-03-01"))
	if len(found) != 1 || found[0].Spend != 100*domain.USD || found[0].Expected != 105*domain.USD/10 {
		t.Fatalf("got %v", found)
	}
	// The floor of 5 % is 0.525, above the sample standard deviation 0.5·√(30/29) = 0.5085.
	if found[0].Sigma != domain.Amount(0.525*float64(domain.USD)) {
		t.Errorf("sigma %v", found[0].Sigma)
	}
}

func TestForecast(t *testing.T) {
	t.Parallel()
	rising := func(i int) float64 { return 10 + float64(i) }
	tests := map[string]struct {
		series     costs.Series
		now        string
		ok         bool
		endOfMonth float64
		confidence float64
		daily      int
	}{
		"a rising line goes on":                   {days("2026-01-12", 30, rising), "2026-02-11", true, risingFebruary(), 1, 18},
		"even days go on":                         {days("2026-01-01", 41, constant(2)), "2026-02-11", true, 56, 1, 18},
		"seven days are enough":                   {days("2026-02-04", 7, constant(3)), "2026-02-11", true, 75, 1, 18},
		"six are not":                             {days("2026-02-05", 6, constant(3)), "2026-02-11", false, 0, 0, 0},
		"today's calls don't make a day":          {days("2026-02-05", 7, constant(3)), "2026-02-11", false, 0, 0, 0},
		"today counts where it is dearer already": {but(days("2026-01-01", 42, constant(2)), "2026-02-11", 10), "2026-02-11", true, 64, 1, 18},
		"today counts as a whole day otherwise":   {but(days("2026-01-01", 42, constant(2)), "2026-02-11", 0.5), "2026-02-11", true, 56, 1, 18},
		"nothing costs less than nothing":         {days("2026-02-01", 10, func(i int) float64 { return 20 - 2*float64(i) }), "2026-02-11", true, 110, 1, 18},
		"the last day of a month":                 {days("2026-01-01", 58, constant(2)), "2026-02-28", true, 56, 1, 1},
		"a leap year's February":                  {days("2028-01-01", 41, constant(2)), "2028-02-11", true, 58, 1, 19},
		"December":                                {days("2026-11-01", 60, constant(2)), "2026-12-31", true, 62, 1, 1},
		"the first of a month":                    {days("2026-01-01", 31, constant(2)), "2026-02-01", true, 56, 1, 28},
		"days that swing explain nothing":         {days("2026-01-12", 30, func(i int) float64 { return []float64{1, 3, 3, 1}[i%4] }), "2026-02-11", true, -1, 0.01, 18},
		"nobody has ever called":                  {costs.Series{First: date("2026-02-11")}, "2026-02-11", false, 0, 0, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, ok := test.series.Forecast(date(test.now).Add(17 * time.Hour))
			if ok != test.ok || len(got.Daily) != test.daily {
				t.Fatalf("ok %v, %d days", ok, len(got.Daily))
			}
			if dollars := float64(got.EndOfMonth) / float64(domain.USD); test.endOfMonth >= 0 && math.Abs(dollars-test.endOfMonth) > 1e-6 {
				t.Errorf("end of month %v, want %v", dollars, test.endOfMonth)
			}
			if math.Abs(got.Confidence-test.confidence) > 0.02 || got.Confidence < 0 || got.Confidence > 1 {
				t.Errorf("confidence %v, want %v", got.Confidence, test.confidence)
			}
			for _, day := range got.Daily {
				if day.Low > day.Expected || day.Expected > day.High || day.Low < 0 {
					t.Errorf("%v is not in order", day)
				}
			}
		})
	}
}

// risingFebruary is what the days of February 2026 with a rising line from 10 on 12 January on come to: 30 … 57 from the first on.
func risingFebruary() float64 {
	sum := 0.0
	for day := range 28 {
		sum += 10 + 20 + float64(day)
	}
	return sum
}

// TestForecastInterval holds the interval against one that was worked out by hand.
func TestForecastInterval(t *testing.T) {
	t.Parallel()
	ys := []float64{1, 2, 4, 3, 5, 7, 6}
	got, ok := days("2026-02-04", len(ys), func(i int) float64 { return ys[i] }).Forecast(date("2026-02-11"))
	if !ok {
		t.Fatal("no forecast")
	}
	// By hand: x̄ = 3, ȳ = 4, Sxx = 28, Sxy = 26, slope 13/14, SSE = 28 − 26²/28 = 27/7, s² = 27/35; at x = 7:
	// ŷ = 4 + 4·13/14, half = 2.5706·√(27/35)·√(1 + 1/7 + 16/28).
	y, half := 4+4*13.0/14, 2.5706*math.Sqrt(27.0/35)*math.Sqrt(1+1.0/7+16.0/28)
	first := got.Daily[0]
	for what, pair := range map[string][2]float64{
		"expected": {float64(first.Expected), y}, "low": {float64(first.Low), y - half}, "high": {float64(first.High), y + half},
	} {
		if math.Abs(pair[0]/float64(domain.USD)-pair[1]) > 1e-6 {
			t.Errorf("%s %v, want %v", what, pair[0]/float64(domain.USD), pair[1])
		}
	}
	if want := 1 - (27.0/7)/28; math.Abs(got.Confidence-want) > 1e-9 {
		t.Errorf("confidence %v, want %v", got.Confidence, want)
	}
}

// FuzzSeries looks for spends at which something is out of order.
func FuzzSeries(f *testing.F) {
	f.Add([]byte{1, 2, 3}, int64(1), 5)
	f.Add(make([]byte, 40), int64(math.MaxInt64), 40)
	f.Fuzz(func(t *testing.T, weights []byte, unit int64, today int) {
		s := costs.Series{First: date("2026-01-01")}
		for _, weight := range weights[:min(len(weights), 100)] {
			s.Spend = append(s.Spend, domain.Amount(max(unit, 0)/256*int64(weight)))
		}
		now := s.Day(min(max(today, -1000), 1000))
		got, ok := s.Forecast(now)
		if ok && (got.EndOfMonth < 0 || len(got.Daily) == 0 || math.IsNaN(got.Confidence)) {
			t.Errorf("forecast %+v", got)
		}
		for _, anomaly := range s.Anomalies(now.AddDate(0, -1, 0), now.AddDate(0, 1, 0)) {
			if anomaly.Spend <= anomaly.Expected {
				t.Errorf("anomaly %+v", anomaly)
			}
		}
	})
}
