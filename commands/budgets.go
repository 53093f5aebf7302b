package commands

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/budgets"
	"github.com/archonhq/archon/domain/keys"
	"github.com/archonhq/archon/internal/httpx"
)

// budgetTables are the projections that show what a budget is.
var budgetTables = []string{"budgets", "audit_index"} //nolint:gochecknoglobals // a constant list

const budgetPath = "/api/v1/cost/budget"

// Budgets holds the use cases of budgets.
type Budgets struct {
	Handler *Handler
	Reads   ReadYourWrites
	// Show finds out how it stands with the spending of a subject now, and shows any budget that the subject may have with it.
	Show func(ctx context.Context, tenant string, subject budgets.Subject) (func(state budgets.State, version int64) api.Budget, error)
}

// budgeted is the state that a decision about a budget rests on: the budget, and the key that it is about, if it is about one.
// The append expects the versions of both.
type budgeted struct {
	own budgets.State
	key keys.Key
}

type budgetTask = task[budgeted, budgets.Command]

// budgetDecider is the joint of budgets with the keys' context.
func budgetDecider() domain.Decider[budgeted, budgets.Command] {
	own, key := budgets.Decider(), keys.Decider()
	return domain.Decider[budgeted, budgets.Command]{
		Decide: func(state budgeted, command budgets.Command) ([]domain.To, error) {
			if put, is := command.(budgets.Put); is && put.Subject.Level == budgets.Key && state.key.ID == "" {
				return nil, budgets.ErrNotFound
			}
			return own.Decide(state.own, command)
		},
		Evolve: func(state budgeted, event domain.Event) budgeted {
			state.own, state.key = own.Evolve(state.own, event), key.Evolve(state.key, event)
			return state
		},
	}
}

// PutDepartmentBudget implements api.StrictServerInterface.
func (b *Budgets) PutDepartmentBudget(ctx context.Context, request api.PutDepartmentBudgetRequestObject) (api.PutDepartmentBudgetResponseObject, error) {
	return b.put(ctx, budgets.Subject{Level: budgets.Department, ID: request.DepartmentID}, request.Body)
}

// PutBudget implements api.StrictServerInterface.
func (b *Budgets) PutBudget(ctx context.Context, request api.PutBudgetRequestObject) (api.PutBudgetResponseObject, error) {
	return b.put(ctx, budgets.Subject{Level: budgets.Level(request.Level), ID: request.ID}, request.Body)
}

// DeleteDepartmentBudget implements api.StrictServerInterface.
func (b *Budgets) DeleteDepartmentBudget(ctx context.Context, request api.DeleteDepartmentBudgetRequestObject) (api.DeleteDepartmentBudgetResponseObject, error) {
	return b.remove(ctx, budgets.Subject{Level: budgets.Department, ID: request.DepartmentID})
}

// DeleteBudget implements api.StrictServerInterface.
func (b *Budgets) DeleteBudget(ctx context.Context, request api.DeleteBudgetRequestObject) (api.DeleteBudgetResponseObject, error) {
	return b.remove(ctx, budgets.Subject{Level: budgets.Level(request.Level), ID: request.ID})
}

func (b *Budgets) put(ctx context.Context, subject budgets.Subject, sent *api.PutBudget) (httpx.Answer, error) {
	caller := callerOf(ctx)
	subject, err := subject.In(caller.Tenant)
	if err != nil {
		return httpx.Answer{}, err
	}
	config, err := budgetOf(sent)
	if err != nil {
		return httpx.Answer{}, err
	}
	command := budgets.Put{Subject: subject, Config: config}
	if err := command.Problem(); err != nil { // before it is looked up for nothing
		return httpx.Answer{}, err
	}
	show, err := b.Show(ctx, caller.Tenant, subject)
	if err != nil {
		return httpx.Answer{}, err
	}
	done, err := handle(ctx, b.Handler, caller, budgetTask{
		decider: budgetDecider(),
		command: command,
		streams: budgetStreams(subject),
		answer: func(state budgeted, version int64, _ time.Time) response {
			return response{status: http.StatusOK, data: show(state.own, version), version: version}
		},
	})
	return finish(ctx, b.Handler, b.Reads, caller, done, err, budgetTables...)
}

func (b *Budgets) remove(ctx context.Context, subject budgets.Subject) (httpx.Answer, error) {
	caller := callerOf(ctx)
	subject, err := subject.In(caller.Tenant)
	if err != nil {
		return httpx.Answer{}, err
	}
	done, err := handle(ctx, b.Handler, caller, budgetTask{
		decider: budgetDecider(),
		command: budgets.Remove{},
		streams: []string{budgets.Stream(subject)},
		answer:  func(budgeted, int64, time.Time) response { return response{status: http.StatusNoContent} },
	})
	return finish(ctx, b.Handler, b.Reads, caller, done, err, budgetTables...)
}

// budgetStreams are the budget's stream, and that of the key it is about.
func budgetStreams(subject budgets.Subject) []string {
	streams := []string{budgets.Stream(subject)}
	if subject.Level == budgets.Key {
		streams = append(streams, keys.Stream(subject.ID))
	}
	return streams
}

// budgetOf reads what was sent, with every number that does not fit.
func budgetOf(sent *api.PutBudget) (budgets.Config, error) {
	config := budgets.Config{Department: orZero(sent.Department), Period: budgets.Period(sent.Period), Warn: budgets.DefaultWarn}
	details := map[string]any{}
	amount, reason := moneyOf(&sent.BudgetUsd)
	if reason != "" {
		details["budget_usd"] = reason
	}
	config.Budget = orZero(amount)
	percent := func(field string, sent *json.Number, into *budgets.Percent) {
		if sent == nil {
			return
		}
		parsed, err := budgets.ParsePercent(sent.String())
		if err != nil {
			details[field] = err.Error()
		}
		*into = parsed
	}
	percent("warn_threshold_pct", sent.WarnThresholdPct, &config.Warn)
	block := budgets.DefaultBlock
	percent("block_threshold_pct", sent.BlockThresholdPct.Value, &block)
	if !sent.BlockThresholdPct.Sent || sent.BlockThresholdPct.Value != nil {
		config.Block = &block
	}
	return config, domain.InvalidFields("The budget is not valid.", details)
}

// budgetID names the budget that a refused write was about, by an id that says nothing of what was sent.
func budgetID(path map[string]string) string {
	subject := budgets.Subject{Level: budgets.Department, ID: path["department_id"]}
	if level, found := path["level"]; found {
		subject = budgets.Subject{Level: budgets.Level(level), ID: path["id"]}
	}
	return budgets.BudgetID(subject)
}
