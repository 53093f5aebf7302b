package readapi

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/costs"
	"github.com/archonhq/archon/internal/httpx"
)

// baseline is how much of the time before a month its anomalies and its forecast look at.
const baseline = 30

// monthRow is what the month's calls come to under one name of a dimension; of the dimension total, what a day's come to, and of the
// dimension all, what all of them come to. Rows of booked are the differences that were booked on a day, with their number for Tokens.
type monthRow struct {
	Dimension string
	Day       *time.Time
	Name      string
	// Key is a department's id; empty for others.
	Key        string
	Spend      usdSum
	Tokens     int64
	Executions int64
	// FirstDay is the day of the tenant's first call, the same in all rows.
	FirstDay *time.Time
}

// month is what was read of a month: its sums, and its days with the 30 before it.
type month struct {
	span
	firstDay *time.Time
	days     []dayTotal
	total    usdSum
	rows     []monthRow
	// closed is the total without what was booked after the month, booked that by day.
	closed usdSum
	booked []monthRow
}

// readMonth reads a month, in one statement, so that all of it shows the same calls.
func (c *Costs) readMonth(ctx context.Context, of span, position *int64) (month, error) {
	dimensions := []string{"total", "provider", "model", "department", "agent"}
	wide := span{of.from.AddDate(0, 0, -baseline), of.until}
	rows, err := query[monthRow](ctx, c.Database, httpx.From(ctx).Principal.Tenant, `with source as (`+sourceOf(wide, position, dimensions)+`), booked as (`+bookedSource(position)+`), sums as (
			select s.dimension, case when s.dimension = 'total' then s.day end as day, coalesce(p.name, d.name, s.key) as name,
				case when s.dimension = 'department' then min(s.key) else '' end as key, sum(s.spend_usd)::numeric(30, 10) as spend,
				sum(s.prompt_tokens + s.completion_tokens)::bigint as tokens, sum(s.executions)::bigint as executions
			from source s left join model_providers p on s.dimension = 'provider' and p.tenant_id = $1 and p.id::text = s.key
				left join `+departmentsThen+` d on s.dimension = 'department' and d.department_id = s.key
			where s.dimension = 'total' or s.day >= ($6::timestamptz at time zone 'UTC')::date
			group by 1, 2, 3
			union all
			select 'all', null, '', '', coalesce(sum(spend_usd), 0)::numeric(30, 10), 0, 0 from source
			where dimension = 'total' and day >= ($6::timestamptz at time zone 'UTC')::date
			union all
			select 'booked', booked_on, '', '', spend, count, 0 from booked
			union all
			select 'closed', null, '', '', (select coalesce(sum(spend_usd), 0) from source where dimension = 'total' and day >= ($6::timestamptz at time zone 'UTC')::date)
				- (select coalesce(sum(spend), 0) from booked), 0, 0)
		select dimension, day, name, key, spend::text as spend, tokens, executions, (
				select min(day) from cost_daily where tenant_id = $1 and dimension = 'total' and ($4::bigint is null or first_position <= $4)) as first_day
		from sums
		order by sums.dimension, sums.day, sums.spend desc, sums.name collate "C"`,
		wide.from, wide.until, position, dimensions, of.from)
	if err != nil {
		return month{}, err
	}
	read := month{span: of}
	for _, row := range rows {
		switch row.Dimension {
		case "all":
			read.total, read.firstDay = row.Spend, row.FirstDay
		case "booked":
			read.booked = append(read.booked, row)
		case "closed":
			read.closed = row.Spend
		case "total":
			read.days = append(read.days, dayTotal{*row.Day, row.Spend})
		default:
			read.rows = append(read.rows, row)
		}
	}
	return read, nil
}

// series are the days up to the one of now, or to the end of the month where that was before.
func (m *month) series(now time.Time) costs.Series {
	until := costs.DayOf(now).AddDate(0, 0, 1)
	if m.until.Before(until) {
		until = m.until
	}
	return seriesOf(m.from.AddDate(0, 0, -baseline), until, m.firstDay, m.days)
}

// GetCostDashboard implements api.StrictServerInterface.
func (c *Costs) GetCostDashboard(ctx context.Context, request api.GetCostDashboardRequestObject) (api.GetCostDashboardResponseObject, error) {
	now, position, err := c.moment(ctx, request.Params.AsOf)
	if err != nil {
		return nil, err
	}
	of := monthOf(now)
	if period := request.Params.Period; period != nil {
		first, err := time.Parse("2006-01", *period)
		if err != nil {
			return nil, httpx.InvalidParameters(map[string]any{"period": "must be a month such as 2025-02"})
		}
		of = monthOf(first)
	}
	read, err := c.readMonth(ctx, of, position)
	if err != nil {
		return nil, err
	}
	shown := read.dashboard(now)
	if err := c.budget(ctx, &read, now, position, &shown); err != nil {
		return nil, err
	}
	return api.GetCostDashboard200JSONResponse{Data: shown, Meta: httpx.Meta(ctx)}, nil
}

// budget puts budgets beside what departments have spent, and how much of them is spent in the period that the month is in. Departments
// that have a budget and have spent nothing come last.
func (c *Costs) budget(ctx context.Context, read *month, now time.Time, position *int64, shown *api.CostDashboard) error {
	of := moment{tenant: httpx.From(ctx).Principal.Tenant, now: now, position: position}
	if now.Before(read.from) || !now.Before(read.until) {
		of.now = read.from.AddDate(0, 0, middleOfMonth)
	}
	byID, err := c.Budgets.departments(ctx, of)
	if err != nil || len(byID) == 0 {
		return err
	}
	at := 0
	for _, row := range read.rows {
		if row.Dimension != "department" {
			continue
		}
		if budget, found := byID[row.Key]; found {
			budget.beside(&shown.ByDepartment[at])
			delete(byID, row.Key)
		}
		at++
	}
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		idle := api.CostOfDepartment{Department: id, Spend: "0"}
		byID[id].beside(&idle)
		shown.ByDepartment = append(shown.ByDepartment, idle)
	}
	return nil
}

// middleOfMonth is in the month in every time zone.
const middleOfMonth = 14

// departmentBudget is a department's budget as the dashboard shows it.
type departmentBudget struct{ api.Budget }

func (b departmentBudget) beside(shown *api.CostOfDepartment) {
	if shown.Department == b.SubjectID { // which has no better name
		shown.Department = *b.Department
	}
	pct, _ := b.Pct.Float64() // it is a number
	shown.Budget, shown.Pct = &b.BudgetUsd, &pct
}

// moment is the present of an answer, and the position that was the head then: nil for now.
func (c *Costs) moment(ctx context.Context, asOf *time.Time) (now time.Time, position *int64, err error) {
	now = c.Now().UTC()
	if asOf == nil {
		return now, nil, nil
	}
	at, err := c.History.PositionAt(ctx, httpx.From(ctx).Principal.Tenant, *asOf)
	if err != nil {
		return now, nil, err //nolint:wrapcheck // the store's errors are part of the API
	}
	if asOf.Before(now) {
		now = asOf.UTC()
	}
	return now, &at, nil
}

// bookedSource has the differences of the month's calls that were booked after it was over, by the day on which they were: the
// month is from $6 until before $3.
func bookedSource(position *int64) string {
	if position == nil {
		return `select booked_on, sum(spend_usd)::numeric(30, 10) as spend, sum(count)::bigint as count from cost_adjusted_days
			where tenant_id = $1 and day >= ($6::timestamptz at time zone 'UTC')::date and day < ($3::timestamptz at time zone 'UTC')::date
				and booked_on >= ($3::timestamptz at time zone 'UTC')::date group by 1`
	}
	return `select (occurred_at at time zone 'UTC')::date as booked_on, sum(difference_usd)::numeric(30, 10) as spend, count(distinct recorded_position) as count
		from cost_adjustments where tenant_id = $1 and started_at >= $6 and started_at < $3 and occurred_at >= $3 and recorded_position <= $4 group by 1`
}

// adjustments are the differences that were booked after the month was over.
func (m *month) adjustments(now time.Time) (asClosed *json.Number, shown api.CostAdjustments) {
	var sum domain.Amount
	shown.Booked = []api.CostAdjustment{}
	for _, row := range m.booked {
		shown.Booked = append(shown.Booked, api.CostAdjustment{Date: row.Day.Format(time.DateOnly), Spend: row.Spend.number(), Count: row.Tokens})
		shown.Count += row.Tokens
		sum += row.Spend.amount()
	}
	shown.Spend = sum.Number()
	if !m.until.After(now) {
		closed := m.closed.number()
		asClosed = &closed
	}
	return asClosed, shown
}

func (m *month) dashboard(now time.Time) api.CostDashboard {
	series := m.series(now)
	shown := api.CostDashboard{
		TotalSpend: m.total.number(), Period: m.from.Format("2006-01"), Trend: m.trend(now), Forecast: m.outlook(now, series),
		ByProvider: []api.CostOfProvider{}, ByModel: []api.CostOfModel{}, ByDepartment: []api.CostOfDepartment{},
		ByAgent: []api.CostOfAgent{}, Anomalies: []api.CostAnomaly{},
	}
	for _, row := range m.rows {
		name, spend := cmp.Or(row.Name, unattributed), row.Spend.number()
		switch row.Dimension {
		case "provider":
			shown.ByProvider = append(shown.ByProvider, api.CostOfProvider{Provider: name, Spend: spend})
		case "model":
			shown.ByModel = append(shown.ByModel, api.CostOfModel{Model: name, Spend: spend, Tokens: row.Tokens})
		case "department":
			shown.ByDepartment = append(shown.ByDepartment, api.CostOfDepartment{Department: name, Spend: spend})
		case "agent":
			shown.ByAgent = append(shown.ByAgent, api.CostOfAgent{Agent: name, Spend: spend, Executions: row.Executions})
		}
	}
	shown.SpendAsClosed, shown.Adjustments = m.adjustments(now)
	for _, anomaly := range series.Anomalies(m.from, m.until) {
		shown.Anomalies = append(shown.Anomalies, api.CostAnomaly{
			Date: anomaly.Day.Format(time.DateOnly), Spend: anomaly.Spend.Number(), Expected: anomaly.Expected.Number(), Sigma: anomaly.Sigma.Number(),
		})
	}
	return shown
}

// trend is every day of the month up to today, and those after it that have calls nevertheless: clocks differ.
func (m *month) trend(now time.Time) []api.CostDay {
	spend, until := map[string]usdSum{}, costs.DayOf(now).AddDate(0, 0, 1)
	for _, total := range m.days {
		spend[total.day.Format(time.DateOnly)] = total.spend
		if next := total.day.AddDate(0, 0, 1); next.After(until) {
			until = next
		}
	}
	trend := []api.CostDay{}
	for day := m.from; day.Before(m.until) && day.Before(until); day = day.AddDate(0, 0, 1) {
		date := day.Format(time.DateOnly)
		trend = append(trend, api.CostDay{Date: date, Spend: cmp.Or(spend[date], "0").number()})
	}
	return trend
}

// outlook is what the month will have cost: known of one that is over, a forecast of this one, nothing of one to come.
func (m *month) outlook(now time.Time, series costs.Series) api.CostOutlook {
	certain := 1.0
	switch {
	case !m.until.After(now):
		end := m.total.number()
		return api.CostOutlook{EndOfMonth: &end, Confidence: &certain}
	case m.from.After(now):
		return api.CostOutlook{}
	}
	forecast, ok := series.Forecast(now)
	if !ok {
		return api.CostOutlook{}
	}
	end := forecast.EndOfMonth.Number()
	return api.CostOutlook{EndOfMonth: &end, Confidence: &forecast.Confidence}
}
