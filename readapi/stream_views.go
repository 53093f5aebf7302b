package readapi

import (
	"time"

	"github.com/google/uuid"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/alerts"
	"github.com/archonhq/archon/domain/keys"
	"github.com/archonhq/archon/domain/prices"
	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/domain/routing"
	"github.com/archonhq/archon/domain/usage"
)

// view is how a kind of stream becomes a state that may be shown.
type view struct {
	// newest, where not 0, is how many of a stream's newest events the state rests on.
	newest int64
	// fold begins a state: add takes the events in order, show is what they have come to.
	fold func() (add func(domain.Event), show func() any)
}

// recentTelemetry is how many events of telemetry are folded: a day's worth, which holds the last probe for certain.
const recentTelemetry = 10_000

// viewOf is the view of a stream, by its noun. What has no state of its own is shown as its last event.
func viewOf(stream string) view {
	switch nounOf(stream) {
	case "provider":
		return folding(providers.Decider(), shownProvider)
	case "providername":
		return view{fold: foldName}
	case "providerhealth":
		return view{newest: recentTelemetry, fold: foldHealth}
	case "key":
		return folding(keys.Decider(), shownKey)
	case "pricebook":
		return folding(prices.Decider(), func(state prices.State) any { return shownPrices{Overrides: state.Overrides} })
	case "ruleset":
		return folding(routing.RulesDecider(), func(state routing.Ruleset) any { return state.Shown() })
	case "fallback":
		return folding(routing.FallbackDecider(), func(state routing.FallbackState) any { return state.Current() })
	case "alert":
		return view{fold: foldAlert}
	}
	return view{newest: 1, fold: lastEvent}
}

// nounOf is the noun of a stream "<noun>-<uuid>", or the whole name.
func nounOf(stream string) string {
	const suffix = len("-01976b2e-6b3a-7c41-9d0e-3b6c5a4f2e10")
	at := len(stream) - suffix
	if at < 1 || stream[at] != '-' || uuid.Validate(stream[at+1:]) != nil {
		return stream
	}
	return stream[:at]
}

// folding is the view of a stream by the decider that decides about it.
func folding[S, C any](decider domain.Decider[S, C], shown func(S) any) view {
	return view{fold: func() (func(domain.Event), func() any) {
		var state S
		return func(event domain.Event) { state = decider.Evolve(state, event) }, func() any { return shown(state) }
	}}
}

// lastEvent is the view of what happened, and is not a thing that changes: a call, a refusal, what an operator did.
func lastEvent() (add func(domain.Event), show func() any) {
	var last any
	return func(event domain.Event) {
		if recorded, is := event.(usage.Recorded); is {
			recorded.UserID = "" // whose call it was is a matter of persons
			last = recorded
			return
		}
		last = event
	}, func() any { return last }
}

type providerState struct {
	ProviderID string `json:"provider_id"`
	providers.Config
	providers.Secret

	IsDeleted       bool `json:"is_deleted"`
	IsSecretRemoved bool `json:"is_secret_removed"`
}

func shownProvider(state providers.State) any {
	return providerState{
		ProviderID: state.ProviderID, Config: state.Config, Secret: state.Secret, IsDeleted: state.Deleted, IsSecretRemoved: state.SecretRemoved,
	}
}

// nameState is whose name it is; nobody's where ProviderID is nil.
type nameState struct {
	Name       string  `json:"name"`
	ProviderID *string `json:"provider_id"`
}

func foldName() (add func(domain.Event), show func() any) {
	var state nameState
	return func(event domain.Event) {
		switch e := event.(type) {
		case providers.NameClaimed:
			state = nameState{Name: e.Name, ProviderID: &e.ProviderID}
		case providers.NameReleased:
			state = nameState{Name: e.Name}
		}
	}, func() any { return state }
}

// healthState is what the telemetry last said.
type healthState struct {
	Probe   *providers.Probed         `json:"last_probe"`
	Breaker *providers.BreakerChanged `json:"circuit_breaker"`
	Calls   *callsState               `json:"last_calls"`
}

type callsState struct {
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Requests int64     `json:"requests"`
	Errors   int64     `json:"errors"`
}

func foldHealth() (add func(domain.Event), show func() any) {
	var state healthState
	return func(event domain.Event) {
		switch e := event.(type) {
		case providers.Probed:
			state.Probe = &e
		case providers.BreakerChanged:
			state.Breaker = &e
		case providers.Sampled:
			state.Calls = &callsState{From: e.From, To: e.To, Requests: e.Requests, Errors: e.Errors}
		}
	}, func() any { return state }
}

type keyState struct {
	KeyID string `json:"key_id"`
	keys.Config

	Hint      string `json:"hint"`
	CreatedBy string `json:"created_by"`
	IsRevoked bool   `json:"is_revoked"`
}

// shownKey leaves out the secret's hash: it opens nothing, and tells nobody anything.
func shownKey(key keys.Key) any {
	return keyState{KeyID: key.ID, Config: key.Config, Hint: key.Hint, CreatedBy: key.CreatedBy, IsRevoked: key.IsRevoked}
}

type shownPrices struct {
	Overrides []prices.Override `json:"overrides"`
}

type alertState struct {
	alerts.Raised

	IsOpen     bool   `json:"is_open"`
	Resolution string `json:"resolution,omitempty"`
}

func foldAlert() (add func(domain.Event), show func() any) {
	var state alertState
	return func(event domain.Event) {
		switch e := event.(type) {
		case alerts.Raised:
			state = alertState{Raised: e, IsOpen: true}
		case alerts.Resolved:
			state.IsOpen, state.Resolution = false, e.Resolution
		}
	}, func() any { return state }
}
