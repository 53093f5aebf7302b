package commands

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/domain/routing"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/secrets"
)

// Target is a provider as a connection test needs it.
type Target struct {
	Type    providers.Type
	BaseURL string
	Secret  ProviderSecret
}

// ConnectionTest is the result of listing a provider's models. Its error is safe to show: key-like parts are removed.
type ConnectionTest = api.ConnectionTest

// Wire speaks to providers.
type Wire interface {
	// Check completes and judges what a client sent for a provider of a type; problems are field to reason.
	Check(providerType providers.Type, baseURL string, secret ProviderSecret) (completeURL string, complete ProviderSecret, problems map[string]string)
	// Test lists the provider's models, bounded in time and size.
	Test(ctx context.Context, target Target, correlationID string) ConnectionTest
}

// Providers holds the use cases of model providers.
type Providers struct {
	Handler   *Handler
	HealthLog HealthLog
	Secrets   secrets.Store
	Wire      Wire
	// Current reads a provider as the read tables have it, for the parts of an answer that are not configuration.
	Current func(ctx context.Context, tenant, id string) (api.Provider, error)
	Reads   ReadYourWrites
	// Breakers, where set, are reset for a provider whose credentials have been seen to work.
	Breakers Breakers
}

// Breakers are the circuit breakers of providers.
type Breakers interface {
	// Reset lets calls to a provider pass again, whatever has kept them away.
	Reset(ctx context.Context, tenant, provider string) error
}

type providerTask = task[providers.State, providers.Command]

// register makes a provider known, with a first connection test whose failure does not undo it.
func (p *Providers) register(ctx context.Context, caller Caller, config providers.Config, secret ProviderSecret) (outcome, error) {
	config.Name = providers.TrimName(config.Name)
	config, secret, err := p.complete(config, secret)
	if err != nil {
		return outcome{}, err
	}
	if err := p.nameIsFree(ctx, caller.Tenant, config.Name); err != nil {
		return outcome{}, err
	}
	id, err := newID()
	if err != nil {
		return outcome{}, err
	}
	named, err := p.putSecret(ctx, caller.Tenant, id, secret)
	if err != nil {
		return outcome{}, err
	}
	test := p.Wire.Test(ctx, Target{Type: config.Type, BaseURL: config.BaseURL, Secret: secret}, caller.CorrelationID)
	done, err := handle(ctx, p.Handler, caller, providerTask{
		decider: providers.Decider(),
		command: providers.Register{ProviderID: id, Config: config, Secret: named, Probe: p.probed(id, test)},
		streams: []string{providers.Stream(id), providers.NameStream(config.Name)},
		answer: func(state providers.State, version int64, at time.Time) response {
			body := view(state, version, api.Provider{CreatedAt: at, HealthStatus: firstHealth(test)})
			body.ConnectionTest = &test
			return response{status: http.StatusCreated, data: body, version: version, location: "/api/v1/router/providers/" + state.ProviderID}
		},
	})
	if done.repeated() || leftNothing(ctx, err) {
		p.dropSecret(ctx, named)
	}
	return done, err
}

// leftNothing tells whether a failed command is known to have appended nothing, so that what was prepared for it can go.
func leftNothing(ctx context.Context, err error) bool {
	return err != nil && ctx.Err() == nil && !errors.Is(err, eventstore.ErrOutcomeUnknown)
}

// nameIsFree refuses a taken name before a secret is written for nothing. The decision proper is made on the same stream
// in the append.
func (p *Providers) nameIsFree(ctx context.Context, tenant, name string) error {
	f, err := fold(ctx, p.Handler, tenant, providerTask{decider: providers.Decider(), streams: []string{providers.NameStream(name)}})
	if err != nil {
		return err
	}
	if f.state.Holder(name) != "" {
		return providers.ErrNameTaken
	}
	return nil
}

// update changes the configuration; headers, where not nil, replace the custom headers with their values.
func (p *Providers) update(ctx context.Context, caller Caller, id string, change func(*providers.Config), headers map[string]string) (outcome, error) {
	return retrying(func() (outcome, error) { return p.tryUpdate(ctx, caller, id, change, headers) })
}

func (p *Providers) tryUpdate(ctx context.Context, caller Caller, id string, change func(*providers.Config), headers map[string]string) (outcome, error) {
	before, err := p.load(ctx, caller, id)
	if err != nil {
		return outcome{}, err
	}
	config := before.state.Config
	change(&config)
	config, secret, err := p.withSecret(ctx, before.state, config, headers)
	if err != nil {
		return outcome{}, err
	}
	current, err := p.current(ctx, caller.Tenant, id, before)
	if err != nil {
		return outcome{}, err
	}
	named := before.state.Secret
	if secret != nil {
		if named, err = p.putSecret(ctx, caller.Tenant, id, *secret); err != nil {
			return outcome{}, err
		}
	}
	done, err := handle(ctx, p.Handler, caller.pinned(before.version(providers.Stream(id))), providerTask{
		decider: providers.Decider(),
		command: providers.Update{Config: config, Secret: named},
		streams: []string{providers.Stream(id)},
		more: func(state providers.State) []string {
			if state.Config.Name == config.Name {
				return nil
			}
			return []string{providers.NameStream(state.Config.Name), providers.NameStream(config.Name)}
		},
		answer: func(state providers.State, version int64, _ time.Time) response {
			return response{status: http.StatusOK, data: view(state, version, current), version: version}
		},
	})
	if secret != nil && (done.repeated() || leftNothing(ctx, err)) {
		p.dropSecret(ctx, named)
	}
	return done, err
}

// withSecret completes a changed configuration as far as it takes the secret for that, and returns the new secret where
// header values changed. A change that has nothing to do with the secret works while the secret store is away.
func (p *Providers) withSecret(ctx context.Context, before providers.State, config providers.Config, headers map[string]string) (providers.Config, *ProviderSecret, error) {
	if headers == nil && config.Type == before.Config.Type && config.BaseURL == before.Config.BaseURL {
		return config, nil, nil
	}
	secret, err := p.Secret(ctx, before.Secret)
	if err != nil {
		return config, nil, err
	}
	changed := headers != nil && !maps.Equal(headers, secret.Headers)
	if changed {
		secret.Headers = headers
	}
	config, completed, err := p.complete(config, secret)
	if err != nil || !changed {
		return config, nil, err
	}
	return config, &completed, nil
}

// current is a provider as the read tables have it, once they show what was folded; where they don't in time, what the
// events alone say of it.
func (p *Providers) current(ctx context.Context, tenant, id string, before folded[providers.State]) (api.Provider, error) {
	waiting, cancel := context.WithTimeout(ctx, p.Reads.Bound)
	defer cancel()
	if p.Reads.Waiter.Wait(waiting, tenant, before.last, "providers") != nil {
		return api.Provider{HealthStatus: api.HealthStatusUnknown, CreatedAt: before.created}, nil
	}
	return p.Current(ctx, tenant, id)
}

// rotate replaces the credentials after a test of the new ones; where it fails the old ones stay.
func (p *Providers) rotate(ctx context.Context, caller Caller, id string, credentials map[string]string) (outcome, error) {
	return retrying(func() (outcome, error) { return p.tryRotate(ctx, caller, id, credentials) })
}

func (p *Providers) tryRotate(ctx context.Context, caller Caller, id string, credentials map[string]string) (outcome, error) {
	before, err := p.load(ctx, caller, id)
	if err != nil {
		return outcome{}, err
	}
	secret, err := p.Secret(ctx, before.state.Secret)
	if err != nil {
		return outcome{}, err
	}
	secret.Credentials = credentials
	config, secret, err := p.complete(before.state.Config, secret)
	if err != nil {
		return outcome{}, err
	}
	test := p.Wire.Test(ctx, Target{Type: config.Type, BaseURL: config.BaseURL, Secret: secret}, caller.CorrelationID)
	if !test.OK {
		return outcome{}, credentialTestFailed(test)
	}
	named, err := p.putSecret(ctx, caller.Tenant, id, secret)
	if err != nil {
		return outcome{}, err
	}
	done, err := handle(ctx, p.Handler, caller.pinned(before.version(providers.Stream(id))), providerTask{
		decider: providers.Decider(),
		command: providers.RotateCredentials{Secret: named},
		streams: []string{providers.Stream(id)},
		answer: func(_ providers.State, version int64, _ time.Time) response {
			body := api.CredentialsReplaced{Status: api.CredentialsReplacedStatusUpdated, Tested: true}
			return response{status: http.StatusOK, data: body, version: version}
		},
	})
	if err == nil {
		p.resetBreaker(ctx, caller.Tenant, id)
	}
	if done.repeated() || leftNothing(ctx, err) {
		p.dropSecret(ctx, named)
	}
	return done, err
}

func credentialTestFailed(test ConnectionTest) error {
	refusal := &domain.Refusal{
		Kind: domain.Invalid, Code: "credential_test_failed",
		Message: "The provider did not accept the new credentials; the old ones stay in use.",
	}
	if test.Error != nil {
		refusal.Message += " It said: " + *test.Error
		return refusal.With("provider", *test.Error)
	}
	return refusal
}

// remove takes a provider out of service, where routing does not name it. Its secret is destroyed by a reaction to the
// event, so that a crash between the two can't leave it behind.
func (p *Providers) remove(ctx context.Context, caller Caller, id string) (outcome, error) {
	return handle(ctx, p.Handler, caller, task[removal, providers.Delete]{
		decider: removing(),
		streams: []string{providers.Stream(id), routing.RulesetStream(caller.Tenant), routing.FallbackStream(caller.Tenant)},
		more:    ownName,
		answer: func(removal, int64, time.Time) response {
			return response{status: http.StatusNoContent}
		},
	})
}

// ownName is the stream of the name that a provider gives up.
func ownName(state removal) []string {
	if !state.provider.Exists() {
		return nil
	}
	return []string{providers.NameStream(state.provider.Config.Name)}
}

// RemoveSecret destroys a deleted provider's secret and records that. Doing it twice changes nothing.
func (p *Providers) RemoveSecret(ctx context.Context, caller Caller, id string) error {
	f, err := fold(ctx, p.Handler, caller.Tenant, providerTask{decider: providers.Decider(), streams: []string{providers.Stream(id)}})
	if err != nil || !f.state.Deleted {
		return err
	}
	if err := p.Secrets.Destroy(ctx, secrets.ProviderPath(caller.Tenant, id)); err != nil {
		return fmt.Errorf("destroy the provider's secret: %w", err)
	}
	_, err = handle(ctx, p.Handler, caller, providerTask{
		decider: providers.Decider(),
		command: providers.RemoveSecret{},
		streams: []string{providers.Stream(id)},
		answer:  func(providers.State, int64, time.Time) response { return response{status: http.StatusNoContent} },
	})
	return err
}

// load folds one provider and refuses where there is none, or not at the version the caller has seen.
func (p *Providers) load(ctx context.Context, caller Caller, id string) (folded[providers.State], error) {
	f, err := fold(ctx, p.Handler, caller.Tenant, providerTask{decider: providers.Decider(), streams: []string{providers.Stream(id)}})
	switch {
	case err != nil:
		return f, err
	case !f.state.Exists():
		return f, providers.ErrNotFound
	}
	return f, caller.IfMatch.check(f.version(providers.Stream(id)))
}

// complete fills in what the type implies and refuses what makes no sense.
func (p *Providers) complete(config providers.Config, secret ProviderSecret) (providers.Config, ProviderSecret, error) {
	baseURL, secret, problems := p.Wire.Check(config.Type, config.BaseURL, secret)
	config.BaseURL = baseURL
	config.CustomHeaders = config.CustomHeaders[:0:0]
	for name := range secret.Headers {
		config.CustomHeaders = append(config.CustomHeaders, name)
	}
	details := map[string]any{}
	if refusal, wrong := errors.AsType[*domain.Refusal](config.Problem()); wrong {
		details = refusal.Details
	}
	for field, reason := range problems {
		details[field] = reason
	}
	return config, secret, domain.InvalidFields("The provider's configuration is not valid.", details)
}

// newID makes the id of a new thing: those made later are greater.
func newID() (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("make an id: %w", err)
	}
	return id.String(), nil
}
