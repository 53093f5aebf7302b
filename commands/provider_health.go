package commands

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/eventstore"
)

// HealthLog is what telemetry needs of the event store beyond Log.
type HealthLog interface {
	Last(ctx context.Context, tenant, stream, eventType string) (eventstore.Recorded, bool, error)
}

// Probe tests the stored credentials of a provider and records the result.
func (p *Providers) Probe(ctx context.Context, caller Caller, id string, trigger providers.Trigger) (ConnectionTest, error) {
	test, _, err := p.probe(ctx, caller, id, trigger)
	return test, err
}

func (p *Providers) probe(ctx context.Context, caller Caller, id string, trigger providers.Trigger) (ConnectionTest, outcome, error) {
	caller.IfMatch = nil // a test changes nothing that has a version
	before, err := p.load(ctx, caller, id)
	if err != nil {
		return ConnectionTest{}, outcome{}, err
	}
	secret, err := p.Secret(ctx, before.state.Secret)
	if err != nil {
		return ConnectionTest{}, outcome{}, err
	}
	config := before.state.Config
	test := p.Wire.Test(ctx, Target{Type: config.Type, BaseURL: config.BaseURL, Secret: secret}, caller.CorrelationID)
	if ctx.Err() != nil {
		return test, outcome{}, fmt.Errorf("test the connection: %w", context.Cause(ctx)) // says nothing about the provider
	}
	probe := p.probed(id, test)
	probe.Trigger = trigger
	done, err := p.recordHealth(ctx, caller, providers.RecordProbe{Probe: probe}, id, test)
	if err == nil && test.OK && trigger == providers.OnDemand {
		p.resetBreaker(ctx, caller.Tenant, id)
	}
	return test, done, err
}

// RecordSample appends a roll-up of calls.
func (p *Providers) RecordSample(ctx context.Context, tenant string, sample providers.Sampled) error {
	_, err := p.recordHealth(ctx, SystemCaller(tenant, "health-recorder"), providers.RecordSample{Sample: sample}, sample.ProviderID, nil)
	return err
}

// RecordBreaker appends a change of a provider's circuit breaker.
func (p *Providers) RecordBreaker(ctx context.Context, tenant string, changed providers.BreakerChanged) error {
	_, err := p.recordHealth(ctx, SystemCaller(tenant, "circuit-breaker"), providers.RecordBreaker{Changed: changed}, changed.ProviderID, nil)
	return err
}

// resetBreaker lets calls pass again after the credentials have been seen to work. It is an attempt: a breaker that is not
// reset tries the provider again by itself before long.
func (p *Providers) resetBreaker(ctx context.Context, tenant, id string) {
	if p.Breakers == nil {
		return
	}
	if err := p.Breakers.Reset(ctx, tenant, id); err != nil {
		p.Handler.Logger.WarnContext(ctx, "circuit breaker not reset", slog.String("provider", id), slog.Any("error", err))
	}
}

// recordHealth appends telemetry. It expects no version: samples of several nodes and probes follow each other in any
// order, and a lost race between two probes would only miscount failures by one until the next.
func (p *Providers) recordHealth(ctx context.Context, caller Caller, command providers.HealthCommand, id string, data any) (outcome, error) {
	state, err := p.health(ctx, caller.Tenant, id)
	if err != nil {
		return outcome{}, err
	}
	return handle(ctx, p.Handler, caller, task[providers.Health, providers.HealthCommand]{
		decider:   providers.HealthDecider(),
		command:   command,
		state:     state,
		unguarded: true,
		streams:   []string{providers.HealthStream(id)},
		answer: func(providers.Health, int64, time.Time) response {
			return response{status: http.StatusOK, data: data}
		},
	})
}

// health folds the last probe alone: a telemetry stream is long, and its samples do not count here.
func (p *Providers) health(ctx context.Context, tenant, id string) (providers.Health, error) {
	var state providers.Health
	last, found, err := p.HealthLog.Last(ctx, tenant, providers.HealthStream(id), providers.Probed{}.EventType())
	if err != nil || !found {
		return state, err //nolint:wrapcheck // says what it read
	}
	event, err := p.Handler.Codec.Decode(last.Type, last.Data)
	if err != nil {
		return state, fmt.Errorf("fold the last probe: %w", err)
	}
	return providers.HealthDecider().Evolve(state, event), nil
}

func (p *Providers) probed(id string, test ConnectionTest) providers.Probed {
	probe := providers.Probed{
		ProviderID: id, OK: test.OK, LatencyMS: test.LatencyMs, ModelsFound: test.ModelsFound,
		CheckedAt: p.Handler.Now().UTC().Truncate(time.Microsecond),
	}
	if test.Error != nil {
		probe.Error = *test.Error
	}
	return probe
}

// firstHealth is the status that a first probe gives.
func firstHealth(test ConnectionTest) api.HealthStatus {
	return api.HealthStatus(providers.StatusOf(providers.Health{Tested: true, OK: test.OK}, 0, 0))
}
