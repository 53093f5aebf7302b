package readapi

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/alerts"
	"github.com/archonhq/archon/domain/budgets"
	"github.com/archonhq/archon/internal/httpx"
)

// Budgets answers what may be spent, and how it stands with that.
type Budgets struct {
	Database Database
	History  History
	Now      func() time.Time
	// TimeZone is that of the tenant's calendar.
	TimeZone func(ctx context.Context, tenant string) (*time.Location, error)
}

// budgetRow is a row of budgets.
type budgetRow struct {
	Level      string
	SubjectID  string
	Department *string
	BudgetUSD  string `db:"budget_usd"`
	Period     string
	WarnPct    string
	BlockPct   *string
	Version    int64
}

const selectBudgets = `select level, subject_id, department, budget_usd::text as budget_usd, period, warn_threshold_pct::text as warn_pct,
	block_threshold_pct::text as block_pct, version from budgets where tenant_id = $1 `

// levelOrder ranks levels as lists show them.
const levelOrder = `array_position(array['tenant', 'department', 'agent', 'key'], level)`

func (r *budgetRow) subject() budgets.Subject {
	return budgets.Subject{Level: budgets.Level(r.Level), ID: r.SubjectID}
}

// state is the budget; the table holds what was valid when it was set.
func (r *budgetRow) state() budgets.State {
	state := budgets.State{Exists: true, Subject: r.subject(), Config: budgets.Config{Period: budgets.Period(r.Period)}}
	state.Budget, _ = domain.ParseAmount(r.BudgetUSD, domain.AmountPlaces)
	state.Warn, _ = budgets.ParsePercent(r.WarnPct)
	if r.BlockPct != nil {
		block, _ := budgets.ParsePercent(*r.BlockPct)
		state.Block = &block
	}
	if r.Department != nil {
		state.Department = *r.Department
	}
	return state
}

// budgetCursor is where a page of budgets ended.
type budgetCursor struct {
	Level string `json:"l"`
	ID    string `json:"i"`
}

// known is a budget with the version of its stream.
type known struct {
	budgets.State

	version int64
}

// ListBudgets implements api.StrictServerInterface.
func (b *Budgets) ListBudgets(ctx context.Context, request api.ListBudgetsRequestObject) (api.ListBudgetsResponseObject, error) {
	var after budgetCursor
	page, err := pageOf("budgets", request.Params.Limit, request.Params.Cursor, &after)
	if err != nil {
		return nil, err
	}
	of, err := b.moment(ctx, request.Params.AsOf)
	if err != nil {
		return nil, err
	}
	behind := `($2 or (` + levelOrder + `, subject_id) > (array_position(array['tenant', 'department', 'agent', 'key'], $3), $4))`
	list, err := b.find(ctx, of, behind, page.limit+1, request.Params.Cursor == nil, after.Level, after.ID)
	if err != nil {
		return nil, err
	}
	if list, err = cut(&page, list, func(last known) any { return budgetCursor{string(last.Level), last.ID} }); err != nil {
		return nil, err
	}
	standings, err := b.standings(ctx, of, list, nil)
	if err != nil {
		return nil, err
	}
	shown := make([]api.Budget, len(list))
	for i := range list {
		shown[i] = standings.show(list[i].State, list[i].version)
	}
	return api.ListBudgets200JSONResponse{Data: shown, Meta: page.meta(ctx)}, nil
}

// GetDepartmentBudget implements api.StrictServerInterface.
func (b *Budgets) GetDepartmentBudget(ctx context.Context, request api.GetDepartmentBudgetRequestObject) (api.GetDepartmentBudgetResponseObject, error) {
	shown, etag, err := b.get(ctx, budgets.Subject{Level: budgets.Department, ID: request.DepartmentID}, request.Params.AsOf)
	if err != nil {
		return nil, err
	}
	return api.GetDepartmentBudget200JSONResponse{
		Body: api.BudgetEnvelope{Data: shown, Meta: httpx.Meta(ctx)}, Headers: api.GetDepartmentBudget200ResponseHeaders{ETag: &etag},
	}, nil
}

// GetBudget implements api.StrictServerInterface.
func (b *Budgets) GetBudget(ctx context.Context, request api.GetBudgetRequestObject) (api.GetBudgetResponseObject, error) {
	shown, etag, err := b.get(ctx, budgets.Subject{Level: budgets.Level(request.Level), ID: request.ID}, request.Params.AsOf)
	if err != nil {
		return nil, err
	}
	return api.GetBudget200JSONResponse{
		Body: api.BudgetEnvelope{Data: shown, Meta: httpx.Meta(ctx)}, Headers: api.GetBudget200ResponseHeaders{ETag: &etag},
	}, nil
}

func (b *Budgets) get(ctx context.Context, subject budgets.Subject, asOf *time.Time) (shown api.Budget, etag string, err error) {
	of, err := b.moment(ctx, asOf)
	if err != nil {
		return shown, "", err
	}
	if subject, err = subject.In(of.tenant); err != nil || !subject.Valid() {
		return shown, "", budgets.ErrNotFound
	}
	list, err := b.find(ctx, of, `level = $2 and subject_id = $3`, 1, string(subject.Level), subject.ID)
	if err == nil && len(list) == 0 {
		err = budgets.ErrNotFound
	}
	if err != nil {
		return shown, "", err
	}
	standings, err := b.standings(ctx, of, list, &subject.ID)
	if err != nil {
		return shown, "", err
	}
	return standings.show(list[0].State, list[0].version), httpx.ETag(list[0].version), nil
}

// find reads the budgets that held at a moment and that a condition is true of, in the order of lists; a limit of 0 is none. Those
// of a moment that is past are folded, all of them.
func (b *Budgets) find(ctx context.Context, of moment, condition string, limit int, args ...any) ([]known, error) {
	order := ` order by ` + levelOrder + `, subject_id`
	if of.position == nil {
		condition += ` and removed_at is null`
		if limit > 0 {
			order += ` limit ` + strconv.Itoa(limit)
		}
	}
	rows, err := query[budgetRow](ctx, b.Database, of.tenant, selectBudgets+`and `+condition+order, args...)
	if err != nil {
		return nil, err
	}
	list := make([]known, 0, len(rows))
	for i := range rows {
		if of.position == nil {
			list = append(list, known{rows[i].state(), rows[i].Version})
			continue
		}
		state, events, err := foldStream(ctx, b.History, of.tenant, budgets.Stream(rows[i].subject()), *of.position, budgets.Decider())
		if err != nil {
			return nil, err
		}
		if state.Exists {
			list = append(list, known{state, int64(len(events))})
		}
	}
	return list, nil
}

// moment is the present of an answer.
type moment struct {
	tenant string
	now    time.Time
	// position was the head then, nil for now.
	position *int64
	zone     *time.Location
}

func (b *Budgets) moment(ctx context.Context, asOf *time.Time) (moment, error) {
	of := moment{tenant: httpx.From(ctx).Principal.Tenant, now: b.Now().UTC()}
	if asOf != nil {
		position, err := b.History.PositionAt(ctx, of.tenant, *asOf)
		if err != nil {
			return of, err //nolint:wrapcheck // the store's errors are part of the API
		}
		of.position = &position
		if asOf.Before(of.now) {
			of.now = asOf.UTC()
		}
	}
	var err error
	of.zone, err = b.TimeZone(ctx, of.tenant)
	return of, err //nolint:wrapcheck // says what it read
}

// standings is what has been spent in the periods that a moment is in, and which budgets have refused calls in them.
type standings struct {
	moment

	spent   map[spending]usdSum
	refused map[string]bool
	// names are those of departments, by id.
	names map[string]string
}

// spending is what a subject has spent in the period that the moment is in.
type spending struct {
	period budgets.Period
	budgets.Subject
}

// window is the period of a budget that the moment is in.
func (m moment) window(period budgets.Period) budgets.Window { return period.Window(m.now, m.zone) }

// standings reads how it stands with budgets, of one subject where one is named.
func (b *Budgets) standings(ctx context.Context, of moment, list []known, subject *string) (standings, error) {
	found := standings{moment: of, spent: map[spending]usdSum{}, refused: map[string]bool{}, names: map[string]string{}}
	read := map[spending]bool{}
	for i := range list {
		sort := spending{list[i].Period, budgets.Subject{Level: list[i].Level}}
		if read[sort] {
			continue
		}
		read[sort] = true
		w := of.window(sort.period)
		rows, err := query[struct {
			SubjectID string
			Spent     usdSum
		}](ctx, b.Database, of.tenant, `select subject_id, spent_usd::numeric(30, 10)::text as spent from budget_spend($1, $2, $3, $4, $5, $6)`,
			w.Start, w.End, of.position, string(sort.Level), subject)
		if err != nil {
			return found, err
		}
		for _, row := range rows {
			sort.ID = row.SubjectID
			found.spent[sort] = row.Spent
		}
	}
	alert := `resolved_at is null and $3::timestamptz is not null`
	if of.position != nil {
		alert = `created_at <= $3 and (resolved_at is null or resolved_at > $3)`
	}
	rows, err := query[struct{ Subject string }](ctx, b.Database, of.tenant, `select subject from alerts where tenant_id = $1 and kind = $2 and `+alert, string(alerts.BudgetExhausted), of.now)
	if err != nil {
		return found, err
	}
	for _, row := range rows {
		found.refused[row.Subject] = true
	}
	if !slices.ContainsFunc(list, func(one known) bool { return one.Level == budgets.Department }) {
		return found, nil
	}
	names, err := query[struct{ DepartmentID, Name string }](ctx, b.Database, of.tenant,
		`select department_id, name from `+departmentsThen+` d where $2::timestamptz is not null and ($3::text is null or department_id = $3)`, of.now, subject, of.position)
	for _, row := range names {
		found.names[row.DepartmentID] = row.Name
	}
	return found, err
}

// spentBy is what has been spent in the budget's period.
func (s standings) spentBy(state budgets.State) usdSum {
	return cmp.Or(s.spent[spending{state.Period, state.Subject}], "0")
}

// show is a budget as the API shows it.
func (s standings) show(state budgets.State, version int64) api.Budget {
	w, sum := s.window(state.Period), s.spentBy(state)
	spent := sum.amount()
	shown := api.Budget{
		ID: budgets.BudgetID(state.Subject), Level: api.BudgetLevel(state.Level), SubjectID: state.ID, BudgetUsd: state.Budget.Number(),
		Period: api.BudgetPeriod(state.Period), WarnThresholdPct: json.Number(state.Warn.String()), CurrentSpendUsd: sum.number(),
		Pct: json.Number(state.Used(spent).String()), PeriodStart: w.Start, PeriodEnd: w.End, Version: version,
		Status: api.BudgetStatus(state.StatusOf(spent, s.refused[alerts.BudgetSubject(string(state.Level), state.ID, string(state.Period), w.Start)])),
	}
	if state.Block != nil {
		shown.BlockThresholdPct = new(json.Number(state.Block.String()))
	}
	if state.Level == budgets.Department {
		name := cmp.Or(s.names[state.ID], state.Department, state.ID)
		shown.DepartmentID, shown.Department = &shown.SubjectID, &name
	}
	return shown
}

// Show reads how it stands with a subject now, for commands to show its budget with.
func (b *Budgets) Show(ctx context.Context, tenant string, subject budgets.Subject) (func(budgets.State, int64) api.Budget, error) {
	zone, err := b.TimeZone(ctx, tenant)
	if err != nil {
		return nil, err //nolint:wrapcheck // says what it read
	}
	either := []known{{State: budgets.State{Subject: subject}}, {State: budgets.State{Subject: subject}}}
	either[0].Period, either[1].Period = budgets.Monthly, budgets.Quarterly
	found, err := b.standings(ctx, moment{tenant: tenant, now: b.Now().UTC(), zone: zone}, either, &subject.ID)
	return found.show, err
}

// HeldBudget is a budget that holds, as calls need it.
type HeldBudget struct {
	budgets.Config

	Version int64
}

// Held are the tenant's budgets that hold, and the time zone of their periods.
func (b *Budgets) Held(ctx context.Context, tenant string) (map[budgets.Subject]HeldBudget, *time.Location, error) {
	list, err := b.find(ctx, moment{tenant: tenant}, `true`, 0)
	if err != nil {
		return nil, nil, err
	}
	held := make(map[budgets.Subject]HeldBudget, len(list))
	for i := range list {
		held[list[i].Subject] = HeldBudget{list[i].Config, list[i].version}
	}
	zone, err := b.TimeZone(ctx, tenant)
	return held, zone, err //nolint:wrapcheck // says what it read
}

// departments are the budgets of departments as of a moment, by department.
func (b *Budgets) departments(ctx context.Context, of moment) (map[string]departmentBudget, error) {
	list, err := b.find(ctx, of, `level = 'department'`, 0)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	if of.zone, err = b.TimeZone(ctx, of.tenant); err != nil {
		return nil, err //nolint:wrapcheck // says what it read
	}
	found, err := b.standings(ctx, of, list, nil)
	byID := make(map[string]departmentBudget, len(list))
	for i := range list {
		byID[list[i].ID] = departmentBudget{found.show(list[i].State, list[i].version)}
	}
	return byID, err
}

// Standing is how it stands with a budget in its present period.
type Standing struct {
	budgets.State

	Window budgets.Window
	Spent  domain.Amount
}

// Standings are how it stands with every budget that holds.
func (b *Budgets) Standings(ctx context.Context, tenant string) ([]Standing, error) {
	list, err := b.find(ctx, moment{tenant: tenant}, `true`, 0)
	if err != nil {
		return nil, err
	}
	zone, err := b.TimeZone(ctx, tenant)
	if err != nil {
		return nil, err //nolint:wrapcheck // says what it read
	}
	found, err := b.standings(ctx, moment{tenant: tenant, now: b.Now().UTC(), zone: zone}, list, nil)
	all := make([]Standing, len(list))
	for i := range list {
		all[i] = Standing{State: list[i].State, Window: found.window(list[i].Period), Spent: found.spentBy(list[i].State).amount()}
	}
	return all, err
}
