// Package eventcodec is the one list of all events that this program can read and write. An event that is missing here
// stops every projector that meets it, so a test holds the list against those of the contexts.
package eventcodec

import (
	"slices"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/alerts"
	"github.com/archonhq/archon/domain/audit"
	"github.com/archonhq/archon/domain/budgets"
	"github.com/archonhq/archon/domain/costs"
	"github.com/archonhq/archon/domain/costsettings"
	"github.com/archonhq/archon/domain/departments"
	"github.com/archonhq/archon/domain/keys"
	"github.com/archonhq/archon/domain/operations"
	"github.com/archonhq/archon/domain/prices"
	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/domain/routing"
	"github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/eventstore"
)

// New makes the codec of every context's events. It panics on a list that contradicts itself, which is a fault of wiring.
func New() *eventstore.Codec {
	codec, err := eventstore.NewCodec(
		eventstore.Define[providers.Registered](),
		eventstore.Define[providers.Updated](),
		eventstore.Define[providers.CredentialsRotated](),
		eventstore.Define[providers.Deleted](),
		eventstore.Define[providers.SecretRemoved](),
		eventstore.Define[providers.NameClaimed](),
		eventstore.Define[providers.NameReleased](),
		eventstore.Define[providers.Probed](),
		eventstore.Define[providers.Sampled](),
		eventstore.Define[providers.BreakerChanged](),
		eventstore.Define[keys.Created](),
		eventstore.Define[keys.Revoked](),
		eventstore.Define[prices.Overridden](),
		eventstore.Define[budgets.Set](),
		eventstore.Define[budgets.Removed](),
		eventstore.Define[alerts.Raised](),
		eventstore.Define[alerts.Resolved](),
		eventstore.Define[departments.Created](),
		eventstore.Define[departments.Renamed](),
		eventstore.Define[departments.NameClaimed](),
		eventstore.Define[departments.NameReleased](),
		eventstore.Define[costsettings.Changed](),
		eventstore.Define[audit.WriteRefused](),
		eventstore.Define[audit.Incarnated](),
		eventstore.Define[audit.RootsRecorded](),
		eventstore.Define[audit.Anchored](),
		eventstore.Define[operations.ProjectionRetried](),
		eventstore.Define[operations.ProjectionRebuildRequested](),
		eventstore.Define[operations.ProjectionPaused](),
		eventstore.Define[operations.ProjectionResumed](),
		eventstore.Define[operations.JobRetried](),
		eventstore.Define[operations.JobDiscarded](),
		eventstore.Define[usage.Recorded](),
		eventstore.Define[costs.RepricingRequested](),
		eventstore.Define[costs.RepricingProgressed](),
		eventstore.Define[costs.RepricingCompleted](),
		eventstore.Define[costs.CallRepriced](),
		eventstore.Define[routing.RulesetReplaced](),
		eventstore.Define[routing.FallbackReplaced](),
	)
	if err != nil {
		panic("event codec: " + err.Error())
	}
	return codec
}

// Contexts lists every event of every context by its zero value.
func Contexts() []domain.Event {
	return slices.Concat(
		providers.Events(), keys.Events(), prices.Events(), budgets.Events(), alerts.Events(), routing.Events(), usage.Events(), costs.Events(), audit.Events(), operations.Events(),
		departments.Events(), costsettings.Events(),
	)
}
