package replay

import (
	"context"
	"fmt"

	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/domain/routing"
	"github.com/archonhq/archon/eventstore"
)

const (
	// keptVersions is how many versions of rules, and of chains, are remembered, and how many of a stream are taken in at once.
	keptVersions, takenIn = 64, 32
	// keptProviders is how many versions of providers are remembered, all providers together.
	keptProviders = 20_000
)

// past looks up what configuration was at a version of its stream.
type past struct {
	log    Log
	codec  *eventstore.Codec
	tenant string

	rules     map[int64]routing.Ruleset
	fallbacks map[int64]routing.Fallback
	// providers is what each version of a provider's stream said; the provider is there once it was looked up.
	providers map[string][]routing.Configured
	kept      int
}

func newPast(log Log, codec *eventstore.Codec, tenant string) *past {
	return &past{
		log: log, codec: codec, tenant: tenant, rules: map[int64]routing.Ruleset{}, fallbacks: map[int64]routing.Fallback{},
		providers: map[string][]routing.Configured{},
	}
}

// configuration is what the record's versions of rules and chain said; missing says which of them the log does not have.
func (p *past) configuration(ctx context.Context, record *routing.Record) (rules routing.Ruleset, fallback routing.Fallback, missing string, err error) {
	if rules, missing, err = version(ctx, p, p.rules, routing.RulesetStream(p.tenant), record.RulesVersion, func(event eventstore.Typed) (routing.Ruleset, bool) {
		e, ok := event.(routing.RulesetReplaced)
		return e.Ruleset.Compiled(), ok
	}); err != nil || missing != "" {
		return rules, fallback, missing, err
	}
	if record.FallbackVersion == 0 {
		return rules, routing.DefaultFallback(), "", nil
	}
	fallback, missing, err = version(ctx, p, p.fallbacks, routing.FallbackStream(p.tenant), record.FallbackVersion, func(event eventstore.Typed) (routing.Fallback, bool) {
		e, ok := event.(routing.FallbackReplaced)
		return e.Fallback, ok
	})
	return rules, fallback, missing, err
}

// version is what an event of a stream, whose events hold the whole content, said; version 0 is the zero value.
func version[T any](ctx context.Context, p *past, known map[int64]T, stream string, number int64, content func(eventstore.Typed) (T, bool)) (value T, missing string, err error) {
	if number == 0 {
		return value, "", nil
	}
	if value, found := known[number]; found {
		return value, "", nil
	}
	events, err := p.log.Load(ctx, p.tenant, stream, number-1)
	if err != nil {
		return value, "", err //nolint:wrapcheck // says which stream
	}
	if len(known) >= keptVersions {
		clear(known)
	}
	for i := range min(len(events), takenIn) {
		payload, err := p.codec.Decode(events[i].Type, events[i].Data)
		if err != nil {
			return value, "", fmt.Errorf("read %s: %w", stream, err)
		}
		if one, ok := content(payload); ok {
			known[events[i].Version] = one
		}
	}
	value, found := known[number]
	if !found {
		missing = fmt.Sprintf("the log has no version %d of stream %s", number, stream)
	}
	return value, missing, nil
}

// providersOf looks up the providers that a record saw.
func (p *past) providersOf(ctx context.Context, record *routing.Record) (routing.Providers, error) {
	for _, seen := range record.Candidates {
		if versions, known := p.providers[seen.ProviderID]; known && int64(len(versions)) >= seen.Version {
			continue
		}
		if err := p.load(ctx, seen.ProviderID); err != nil {
			return nil, err
		}
	}
	return func(id string, version int64) (routing.Configured, bool) {
		versions := p.providers[id]
		if version < 1 || version > int64(len(versions)) {
			return routing.Configured{}, false
		}
		return versions[version-1], true
	}, nil
}

func (p *past) load(ctx context.Context, id string) error {
	stream := providers.Stream(id)
	events, err := p.log.Load(ctx, p.tenant, stream, 0)
	if err != nil {
		return err //nolint:wrapcheck // says which stream
	}
	var state providers.State
	versions := make([]routing.Configured, len(events))
	for i := range events {
		payload, err := p.codec.Decode(events[i].Type, events[i].Data)
		if err != nil {
			return fmt.Errorf("read %s: %w", stream, err)
		}
		state = providers.Decider().Evolve(state, payload)
		config := state.Config
		versions[i] = routing.Configured{
			Name: config.Name, Type: string(config.Type), Enabled: config.IsEnabled, Models: config.SupportedModels, Capabilities: config.Capabilities,
		}
	}
	p.kept += len(versions) - len(p.providers[id])
	p.providers[id] = versions
	return nil
}

// forget makes room where too much is kept. It is called between calls, whose providers are all there while they last.
func (p *past) forget() {
	if p.kept > keptProviders {
		clear(p.providers)
		p.kept = 0
	}
}
