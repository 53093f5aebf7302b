package commands

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/domain/routing"
)

// Routing holds the use cases of rules and the fallback chain.
type Routing struct {
	Handler *Handler
	Reads   ReadYourWrites
}

// named is the state that a decision about routing rests on: what it is about, and the providers that it is to name. The
// append expects the versions of all of them, so a provider can't go while a rule comes that names it.
type named[S any] struct {
	own       S
	providers map[string]providers.State
}

func (n named[S]) exists(id string) bool { return n.providers[id].Exists() }

// naming is the joint of routing with the providers' context: own's behaviour, with the providers folded beside it. complete
// puts what they say into a command.
func naming[S, C any](own domain.Decider[S, C], complete func(C, named[S]) C) domain.Decider[named[S], C] {
	provider := providers.Decider()
	return domain.Decider[named[S], C]{
		Decide: func(state named[S], command C) ([]domain.To, error) {
			return own.Decide(state.own, complete(command, state))
		},
		Evolve: func(state named[S], event domain.Event) named[S] {
			id := subjectOf(event)
			if id == "" {
				state.own = own.Evolve(state.own, event)
				return state
			}
			folded := make(map[string]providers.State, len(state.providers)+1)
			maps.Copy(folded, state.providers)
			folded[id] = provider.Evolve(folded[id], event)
			state.providers = folded
			return state
		},
	}
}

// subjectOf is the provider that an event of a provider's stream is about, empty for any other event.
func subjectOf(event domain.Event) string {
	switch e := event.(type) {
	case providers.Registered:
		return e.ProviderID
	case providers.Updated:
		return e.ProviderID
	case providers.CredentialsRotated:
		return e.ProviderID
	case providers.Deleted:
		return e.ProviderID
	case providers.SecretRemoved:
		return e.ProviderID
	}
	return ""
}

// withProviders is a routing stream with those of the providers that it is to name. What can't be a provider's id has no
// stream, and is nobody's.
func withProviders(stream string, ids []string) []string {
	streams := []string{stream}
	for _, id := range ids {
		if uuid.Validate(id) == nil {
			streams = append(streams, providers.Stream(id))
		}
	}
	return streams
}

// replaceRules makes these the rules; those without an id are given one.
func (r *Routing) replaceRules(ctx context.Context, caller Caller, ruleset routing.Ruleset) (outcome, error) {
	ruleset.Rules = slices.Clone(ruleset.Rules)
	for i := range ruleset.Rules {
		if ruleset.Rules[i].ID != "" {
			continue
		}
		id, err := newID()
		if err != nil {
			return outcome{}, err
		}
		ruleset.Rules[i].ID = id
	}
	if err := ruleset.Problem(nil); err != nil { // before providers are looked up for nothing
		return outcome{}, err
	}
	return handle(ctx, r.Handler, caller, task[named[routing.Ruleset], routing.ReplaceRules]{
		decider: naming(routing.RulesDecider(), func(c routing.ReplaceRules, state named[routing.Ruleset]) routing.ReplaceRules {
			c.Exists = state.exists
			return c
		}),
		command: routing.ReplaceRules{Tenant: caller.Tenant, Ruleset: ruleset},
		streams: withProviders(routing.RulesetStream(caller.Tenant), ruleset.Names()),
		answer: func(state named[routing.Ruleset], version int64, _ time.Time) response {
			return response{status: http.StatusOK, data: state.own.Shown(), version: version}
		},
	})
}

// replaceFallback makes this the fallback chain; entries without a name are given their provider's.
func (r *Routing) replaceFallback(ctx context.Context, caller Caller, fallback routing.Fallback) (outcome, error) {
	if err := fallback.Problem(nil); err != nil {
		return outcome{}, err
	}
	return handle(ctx, r.Handler, caller, task[named[routing.FallbackState], routing.ReplaceFallback]{
		decider: naming(routing.FallbackDecider(), func(c routing.ReplaceFallback, state named[routing.FallbackState]) routing.ReplaceFallback {
			c.Exists = state.exists
			c.Fallback.Chain = slices.Clone(c.Fallback.Chain)
			for i := range c.Fallback.Chain {
				if entry := &c.Fallback.Chain[i]; entry.Name == "" {
					entry.Name = state.providers[entry.ProviderID].Config.Name
				}
			}
			return c
		}),
		command: routing.ReplaceFallback{Tenant: caller.Tenant, Fallback: fallback},
		streams: withProviders(routing.FallbackStream(caller.Tenant), fallback.Names()),
		answer: func(state named[routing.FallbackState], version int64, _ time.Time) response {
			return response{status: http.StatusOK, data: state.own.Current(), version: version}
		},
	})
}

// errProviderInUse says that routing still names a provider.
var errProviderInUse = &domain.Refusal{
	Kind: domain.Conflict, Code: "provider_in_use",
	Message: "Routing still refers to this provider; take it out of the rules, the default rule and the fallback chain first.",
}

// removal is the state that taking a provider out of service rests on: the provider, and what may name it.
type removal struct {
	provider providers.State
	rules    routing.Ruleset
	fallback routing.FallbackState
}

// removing is a provider's removal, refused while routing names it. The append expects the versions of the rules and the
// chain, so none that names it can come in between.
func removing() domain.Decider[removal, providers.Delete] {
	provider, rules, fallback := providers.Decider(), routing.RulesDecider(), routing.FallbackDecider()
	return domain.Decider[removal, providers.Delete]{
		Decide: func(state removal, c providers.Delete) ([]domain.To, error) {
			events, err := provider.Decide(state.provider, c)
			if err != nil {
				return nil, err //nolint:wrapcheck // a refusal is passed on as it is
			}
			if inUse := state.inUse(); len(inUse) > 0 {
				return nil, &domain.Refusal{Kind: errProviderInUse.Kind, Code: errProviderInUse.Code, Message: errProviderInUse.Message, Details: inUse}
			}
			return events, nil
		},
		Evolve: func(state removal, event domain.Event) removal {
			return removal{
				provider: provider.Evolve(state.provider, event), rules: rules.Evolve(state.rules, event),
				fallback: fallback.Evolve(state.fallback, event),
			}
		},
	}
}

// inUse says what names the provider, for the details of the refusal; empty where nothing does.
func (r removal) inUse() map[string]any {
	details := map[string]any{}
	id := r.provider.ProviderID
	if rules := r.rules.NamedBy(id); len(rules) > 0 {
		details["rules"] = rules
	}
	if r.rules.Default != nil && r.rules.Default.ProviderID == id {
		details["default_rule"] = true
	}
	if slices.Contains(r.fallback.Current().Names(), id) {
		details["fallback_chain"] = true
	}
	return details
}
