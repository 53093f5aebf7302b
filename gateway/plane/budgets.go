package plane

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/alerts"
	"github.com/archonhq/archon/domain/budgets"
	"github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/gateway/budget"
)

// counting is a budget that a call counts in, in the period in which the call began.
type counting struct {
	budget.Level

	subject budgets.Subject
	config  *budgets.Config
	window  budgets.Window
}

// countsIn are the budgets that a call counts in, by a configuration: the key's own, and those of its key, agent, department and
// tenant, the narrowest first. The ids of levels name the period by its bounds, so that neither another period nor another time
// zone is ever mistaken for it.
func (r *run) countsIn(snapshot *Snapshot) []counting {
	var list []counting
	tenant := r.caller.Tenant
	if key := r.caller.Key; key != nil && key.BudgetNanoUSD != nil {
		list = append(list, counting{
			subject: budgets.Subject{Level: budgets.Key, ID: key.ID},
			Level: budget.Level{
				ID: "key:" + key.ID, Limit: min(budget.Amount(*key.BudgetNanoUSD), budget.MaxAmount),
				Base: func(ctx context.Context) (budget.Amount, int64, error) { return r.Spend(ctx, tenant, key.ID) },
			},
		})
	}
	if len(snapshot.Budgets) == 0 {
		return list
	}
	for _, subject := range subjectsOf(tenant, &r.recorded) {
		config, found := snapshot.Budgets[subject]
		if found && subject.ID != "" {
			list = append(list, r.counting(snapshot, subject, &config, r.recorded.StartedAt))
		}
	}
	return list
}

// counting is the period of a budget that a moment is in.
func (p *Plane) counting(snapshot *Snapshot, subject budgets.Subject, config *Budget, at time.Time) counting {
	window := config.Period.Window(at, snapshot.Zone)
	limit, blocks := config.BlocksAt()
	if !blocks {
		limit = config.WarnsAt()
	}
	return counting{
		subject: subject, config: &config.Config, window: window, Level: budget.Level{
			ID: strings.Join([]string{string(subject.Level), subject.ID, window.Start.Format(time.RFC3339), window.End.Format(time.RFC3339)}, ":"),
			// Rounded down to what is counted in.
			Limit: min(budget.Amount(limit/domain.NanoUSD), budget.MaxAmount), WarnOnly: !blocks,
			Generation: strings.Join([]string{string(subject.Level), subject.ID, strconv.FormatInt(config.Version, 10), strconv.FormatInt(snapshot.ZoneVersion, 10)}, ":"),
			Began:      window.Start,
			Base: func(ctx context.Context) (budget.Amount, int64, error) {
				return p.PeriodSpend(ctx, snapshot.Tenant, subject, window)
			},
		},
	}
}

// subjectsOf are those whose spending a call is.
func subjectsOf(tenant string, recorded *usage.Recorded) [4]budgets.Subject {
	return [...]budgets.Subject{
		{Level: budgets.Key, ID: recorded.KeyID},
		{Level: budgets.Agent, ID: recorded.AgentID},
		{Level: budgets.Department, ID: recorded.DepartmentID},
		{Level: budgets.Tenant, ID: tenant},
	}
}

func levelsOf(list []counting) []budget.Level {
	levels := make([]budget.Level, len(list))
	for i := range list {
		levels[i] = list[i].Level
	}
	return levels
}

// refusal is what the client gets whose call does not fit into a budget, and whoever watches over it, if it is as good as used up.
func (r *run) refusal(ctx context.Context, list []counting, exceeded *budget.Exceeded) *Problem {
	for i := range list {
		c := &list[i]
		if c.ID != exceeded.Level {
			continue
		}
		spent := amountOf(exceeded.Spent)
		shown := &BudgetProblem{
			Level: string(c.subject.Level), ID: c.subject.ID, Period: "total", LimitUSD: amountOf(exceeded.Limit).Number(),
			SpentUSD: spent.Number(), ReservedUSD: amountOf(exceeded.Held).Number(),
		}
		problem := budgetExceeded("The budget of this API key is used up: of " + exceeded.Limit.String() + ", " + (exceeded.Spent + exceeded.Held).String() +
			" are spent or set aside for calls under way. Ask for less with max_tokens, or for a key with a larger budget.")
		if c.config != nil {
			ends := c.window.End
			shown.Period, shown.ResetsAt = string(c.config.Period), &ends
			problem.Message = "The " + string(c.config.Period) + " budget of the " + string(c.subject.Level) + " " + c.subject.ID + " is used up: of " + exceeded.Limit.String() + ", " +
				(exceeded.Spent + exceeded.Held).String() + " are spent or set aside for calls under way. It begins anew at " + ends.Format(time.RFC3339) + ". Ask for less with max_tokens, or for a larger budget."
			problem.RetryAfter = max(ends.Sub(r.Now()), time.Second)
			if spent >= c.config.WarnsAt() {
				r.raise(ctx, c.alert(spent).Exhausted())
			}
		}
		problem.Budget = shown
		r.recorded.RefusedBy = string(c.subject.Level) + "/" + c.subject.ID
		return problem
	}
	return budgetExceeded("A budget is used up.") // a level that is not among those that were reserved: there is none
}

func amountOf(nano budget.Amount) domain.Amount { return domain.Amount(nano) * domain.NanoUSD }

// alert is an alert about the budget, which is to say more.
func (c *counting) alert(spent domain.Amount) alerts.Budget {
	alert := alerts.Budget{
		Level: string(c.subject.Level), SubjectID: c.subject.ID, Period: string(c.config.Period), Start: c.window.Start, End: c.window.End,
		Spent: spent, Budget: c.config.Budget, Warns: c.config.WarnsAt(),
	}
	alert.Blocks, _ = c.config.BlocksAt()
	return alert
}

// raise tells somebody, after the answer.
func (r *run) raise(ctx context.Context, alert alerts.Alert) {
	r.after(ctx, func(ctx context.Context) { r.Raise(ctx, r.caller.Tenant, alert) })
}

// watch raises the alerts of budgets that what was just settled has brought to a threshold. A period that is over is nobody's worry,
// unless it was this call that crossed the threshold.
func (r *run) watch(ctx context.Context, list []counting, spendings []budget.Spending, cost budget.Amount) {
	for _, spending := range spendings {
		for i := range list {
			c := &list[i]
			if c.ID != spending.Level || c.config == nil {
				continue
			}
			now, before := amountOf(spending.Spent), amountOf(spending.Spent-cost)
			present := c.window.Contains(r.Now())
			if warns := c.config.WarnsAt(); now >= warns && (present || before < warns) {
				r.Raise(ctx, r.caller.Tenant, c.alert(now).Warning())
			}
			if limit, blocks := c.config.BlocksAt(); blocks && now >= limit && (present || before < limit) {
				r.Raise(ctx, r.caller.Tenant, c.alert(now).Exhausted())
			}
		}
	}
}

// joined are the budgets that the call counts in by now and is not reserved on: they came to be while it was under way.
func joined(reserved, now []counting) []counting {
	var list []counting
	for i := range now {
		found := false
		for j := range reserved {
			found = found || reserved[j].ID == now[i].ID
		}
		if !found && now[i].config != nil {
			list = append(list, now[i])
		}
	}
	return list
}

// blocks tells whether one of the budgets refuses calls; where none does, nothing has to be bounded.
func blocks(list []counting) bool {
	for i := range list {
		if !list[i].WarnOnly {
			return true
		}
	}
	return false
}

// Recount sets what Redis counts in a tenant's budgets, in their present periods, by the ledger, which may have changed: calls can be
// priced anew. Budgets in which nothing is counted are left alone.
func (p *Plane) Recount(ctx context.Context, tenant string, configured *Configuration) error {
	snapshot := &Snapshot{Configuration: configured, Tenant: tenant}
	var failures []error
	for subject, config := range configured.Budgets {
		level := p.counting(snapshot, subject, &config, p.Now()).Level
		counted, err := p.Budgets.Counts(ctx, tenant, level.ID)
		if err == nil && counted {
			_, err = p.Budgets.Reconcile(ctx, tenant, level)
		}
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}
