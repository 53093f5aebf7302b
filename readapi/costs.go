package readapi

import (
	"context"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/costs"
	"github.com/archonhq/archon/internal/httpx"
)

// Costs answers what calls have cost. Days are days in UTC; a call counts to the day on which it began.
type Costs struct {
	Database Database
	History  History
	Budgets  *Budgets
	Now      func() time.Time
}

// unattributed is the name of what belongs to nobody.
const unattributed = "unattributed"

// span is the time from one moment until before another.
type span struct{ from, until time.Time }

// wholeDays tells whether the sums of days can answer for the span.
func (s span) wholeDays() bool {
	return costs.DayOf(s.from).Equal(s.from) && costs.DayOf(s.until).Equal(s.until)
}

// monthOf is the month of a moment.
func monthOf(at time.Time) span {
	year, month, _ := at.UTC().Date()
	first := time.Date(year, month, 1, 0, 0, 0, 0, time.UTC)
	return span{first, first.AddDate(0, 1, 0)}
}

// endOfTime is later than anything.
func endOfTime() time.Time { return time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC) }

// spanOf reads from and to. A day as to is included; see the document for what is left out.
func spanOf(from, to *string, now time.Time) (span, error) {
	found, bad := monthOf(now), map[string]any{}
	if from != nil || to != nil {
		found.until = endOfTime()
	}
	if to != nil {
		at, isDay, ok := httpx.DayOrTime(*to)
		if !ok {
			bad["to"] = httpx.NotDayOrTime
		}
		found = span{monthOf(at).from, at}
		if isDay {
			found.until = at.AddDate(0, 0, 1)
		}
	}
	if from != nil {
		at, _, ok := httpx.DayOrTime(*from)
		if !ok {
			bad["from"] = httpx.NotDayOrTime
		}
		found.from = at
	}
	if len(bad) == 0 && !found.from.Before(found.until) {
		bad["from"] = "must be before to, or the same day"
	}
	if len(bad) > 0 {
		return span{}, httpx.InvalidParameters(bad)
	}
	return found, nil
}

// departmentsThen are the names of departments as of position $4, or of now where that is null. In it are few rows, which are
// read once.
const departmentsThen = `(select distinct on (department_id) department_id, name from department_names
		where tenant_id = $1 and ($4::bigint is null or recorded_position <= $4) order by department_id, version desc)`

// usdSum is a sum of money as PostgreSQL has it: a decimal with ten places, of any size.
type usdSum string

// number is the sum as the API shows it.
func (d usdSum) number() json.Number {
	whole, fraction, _ := strings.Cut(string(d), ".")
	if amount, err := domain.ParseAmount(string(d), domain.AmountPlaces); err == nil {
		return amount.Number()
	}
	// Beyond an Amount: the dollars, and apart from them what is below one.
	rest, err := domain.ParseAmount("0."+fraction, domain.AmountPlaces)
	if err != nil {
		return json.Number(whole)
	}
	shown := rest.Number().String()
	if shown == "1" {
		return json.Number(addOne(whole))
	}
	return json.Number(whole + strings.TrimPrefix(shown, "0"))
}

// addOne adds one to a whole number below 10¹⁸.
func addOne(whole string) string {
	number, _ := strconv.ParseInt(whole, 10, 64) // PostgreSQL wrote it, and its type bounds it
	return strconv.FormatInt(number+1, 10)
}

// amount is the sum for estimates; what is beyond the largest amount is that.
func (d usdSum) amount() domain.Amount {
	amount, err := domain.ParseAmount(string(d), domain.AmountPlaces)
	if err != nil {
		return math.MaxInt64
	}
	return amount
}

// dayTotal is what a day has cost.
type dayTotal struct {
	day   time.Time
	spend usdSum
}

// seriesOf are the days from the tenant's first one until before another, with those between that had no calls. first is
// nil where there has been no call.
func seriesOf(from, until time.Time, first *time.Time, totals []dayTotal) costs.Series {
	series := costs.Series{First: from}
	if first == nil {
		return costs.Series{First: until}
	}
	if first.After(from) {
		series.First = costs.DayOf(*first)
	}
	byDay := make(map[string]domain.Amount, len(totals))
	for _, total := range totals {
		byDay[total.day.Format(time.DateOnly)] = total.spend.amount()
	}
	for day := series.First; day.Before(until); day = day.AddDate(0, 0, 1) {
		series.Spend = append(series.Spend, byDay[day.Format(time.DateOnly)])
	}
	return series
}

// GetCostForecast implements api.StrictServerInterface.
func (c *Costs) GetCostForecast(ctx context.Context, _ api.GetCostForecastRequestObject) (api.GetCostForecastResponseObject, error) {
	now := c.Now().UTC()
	read, err := c.readMonth(ctx, monthOf(now), nil)
	if err != nil {
		return nil, err
	}
	shown := api.CostForecast{Method: api.CostForecastMethodInsufficientData, Daily: []api.CostExpectation{}}
	if forecast, ok := read.series(now).Forecast(now); ok {
		end := forecast.EndOfMonth.Number()
		shown.Method, shown.EndOfMonth, shown.Confidence = api.CostForecastMethodLinearRegression, &end, &forecast.Confidence
		for _, day := range forecast.Daily {
			shown.Daily = append(shown.Daily, api.CostExpectation{
				Date: day.Day.Format(time.DateOnly), Expected: day.Expected.Number(), Low: day.Low.Number(), High: day.High.Number(),
			})
		}
	}
	return api.GetCostForecast200JSONResponse{Data: shown, Meta: httpx.Meta(ctx)}, nil
}
