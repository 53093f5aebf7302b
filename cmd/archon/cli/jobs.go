package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/commands"
	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/internal/webhook"
	"github.com/archonhq/archon/projections"
	"github.com/archonhq/archon/reactions"
)

// rememberedJobs is how long the command that a job ends in is remembered: longer than any job is retried.
const rememberedJobs = 30 * 24 * time.Hour

// newRouter wires the handlers of jobs.
func (n *node) newRouter(use *commands.Providers) (*reactions.Router, error) {
	router, err := reactions.NewRouter(n.workerPool, reactions.RouterConfig{Log: n.log})
	if err != nil {
		return nil, err //nolint:wrapcheck // says what it did
	}
	router.Handle(reactions.RemoveSecretTopic, reactions.RemoveSecrets(func(ctx context.Context, job reactions.Job, providerID string) error {
		return use.RemoveSecret(ctx, jobCaller(job), providerID) //nolint:wrapcheck // says what it did
	}))
	unpriced := &commands.Unpriced{
		Alerts: n.alerts, Prices: n.prices(use.Handler), Waiter: n.runner, Open: n.alertReads().OpenSubjects,
	}
	router.Handle(reactions.ResolveUnpricedTopic, reactions.ResolveUnpriced(func(ctx context.Context, job reactions.Job, position int64, moment time.Time) error {
		return unpriced.Resolve(ctx, jobCaller(job), position, moment) //nolint:wrapcheck // says what it did
	}))
	credentials := &commands.DeadCredentials{Alerts: n.alerts, Waiter: n.runner, Refused: n.providerReads().CredentialsRefused}
	router.Handle(reactions.DeadCredentialsTopic, reactions.DeadCredentials(func(ctx context.Context, job reactions.Job, position int64, providerID string) error {
		return credentials.Settle(ctx, jobCaller(job), position, providerID) //nolint:wrapcheck // says what it did
	}))
	delivery := &commands.AlertDelivery{
		Settings: n.costSettings(use.Handler), LoadUntil: n.store.LoadUntil,
		Send: webhook.NewSender(n.guard(), "archon/"+n.version, time.Now).Send,
	}
	router.HandleMany(reactions.DeliverAlertTopic, reactions.DeliveriesAtOnce, reactions.DeliverAlerts(delivery.Deliver))
	repricings := n.repricings(use.Handler)
	router.Handle(reactions.RepriceTopic, reactions.RepriceCalls(func(ctx context.Context, job reactions.Job, repricingID string) error {
		return repricings.Run(ctx, jobCaller(job), repricingID) //nolint:wrapcheck // says what it did
	}))
	router.Handle(reactions.ReviewBudgetsTopic, reactions.ReviewBudgets(func(ctx context.Context, job reactions.Job, position int64) error {
		if err := n.runner.Wait(ctx, job.Tenant, position, projections.BudgetsName); err != nil {
			return err //nolint:wrapcheck // says what it waited for
		}
		return n.reviewBudgets(ctx, jobCaller(job))
	}))
	return router, nil
}

// jobCaller is Archon itself, doing a job.
func jobCaller(job reactions.Job) commands.Caller {
	caller := commands.SystemCaller(job.Tenant, "jobs")
	caller.CorrelationID, caller.CausationID = job.CorrelationID, job.CausationID
	caller.Idempotency = &commands.Idempotency{CommandID: job.CommandID(), TTL: rememberedJobs}
	return caller
}

var (
	errNoJob    = &domain.Refusal{Kind: domain.NotFound, Code: "not_found", Message: "There is no such job."}
	errJobState = &domain.Refusal{Kind: domain.Conflict, Code: "job_not_failed", Message: "The job has not failed; only failed jobs can be retried or discarded."}
)

// RetryJob implements commands.Control.
func (c control) RetryJob(ctx context.Context, tenant, id string) (api.Job, error) {
	return steer(ctx, c.jobs().Retry, tenant, id)
}

// DiscardJob implements commands.Control.
func (c control) DiscardJob(ctx context.Context, tenant, id string) (api.Job, error) {
	return steer(ctx, c.jobs().Discard, tenant, id)
}

func (c control) jobs() *reactions.Jobs { return &reactions.Jobs{Pool: c.node.appPool} }

func steer(ctx context.Context, deed func(context.Context, string, uuid.UUID) (reactions.Record, error), tenant, id string) (api.Job, error) {
	parsed, err := uuid.Parse(id)
	if err != nil {
		return api.Job{}, errNoJob
	}
	record, err := deed(ctx, tenant, parsed)
	switch {
	case errors.Is(err, reactions.ErrNoJob):
		return api.Job{}, errNoJob
	case errors.Is(err, reactions.ErrJobState):
		return api.Job{}, errJobState
	case err != nil:
		return api.Job{}, fmt.Errorf("act on a job: %w", err)
	}
	return jobOf(&record), nil
}

// Jobs implements readapi.Overview.
func (c control) Jobs(ctx context.Context, tenant string, status *api.JobStatus, before int64, limit int) ([]api.Job, int64, error) {
	records, err := c.jobs().List(ctx, tenant, before, limit+1, jobStates(status)...)
	if err != nil {
		return nil, 0, err //nolint:wrapcheck // says what it did
	}
	next := int64(0)
	if len(records) > limit {
		records = records[:limit]
		next = records[limit-1].Number
	}
	list := []api.Job{}
	for i := range records {
		if job := jobOf(&records[i]); status == nil || job.Status == *status {
			list = append(list, job)
		}
	}
	return list, next, nil
}

// jobStates are the stored states that show as a status; queued and running are both pending.
func jobStates(status *api.JobStatus) []reactions.Status {
	if status == nil {
		return nil
	}
	switch *status {
	case api.JobStatusQueued, api.JobStatusRunning:
		return []reactions.Status{reactions.Pending}
	case api.JobStatusSucceeded:
		return []reactions.Status{reactions.Done}
	case api.JobStatusFailed:
		return []reactions.Status{reactions.Failed}
	case api.JobStatusDiscarded:
		return []reactions.Status{reactions.Discarded}
	}
	return nil
}

func jobOf(record *reactions.Record) api.Job {
	job := api.Job{
		ID: record.ID.String(), Kind: record.Topic, Attempts: record.Attempts, CreatedAt: record.CreatedAt.UTC(), UpdatedAt: record.CreatedAt.UTC(),
		CorrelationID: optional(record.CorrelationID), CausationID: optional(record.CausationID), Error: optional(record.Error),
	}
	if record.FinishedAt != nil {
		job.UpdatedAt = record.FinishedAt.UTC()
	}
	switch record.Status {
	case reactions.Done:
		job.Status = api.JobStatusSucceeded
	case reactions.Failed:
		job.Status = api.JobStatusFailed
	case reactions.Discarded:
		job.Status = api.JobStatusDiscarded
	case reactions.Pending:
		job.Status = api.JobStatusQueued
		if record.Running {
			job.Status = api.JobStatusRunning
		} else {
			due := record.RunAfter.UTC()
			job.NextAttemptAt = &due
		}
	}
	return job
}

func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
