package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/budgets"
	"github.com/archonhq/archon/domain/costsettings"
	"github.com/archonhq/archon/domain/keys"
	"github.com/archonhq/archon/domain/prices"
	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/domain/routing"
	"github.com/archonhq/archon/gateway/plane"
	"github.com/archonhq/archon/projections"
	"github.com/archonhq/archon/readapi"
)

// source is where the data plane's memory of a tenant comes from: the log says when it has changed and which rules hold, the
// read tables what is registered.
type source struct{ node *node }

var _ plane.Source = source{}

// configurationTypes are the events that change what calls depend on.
var configurationTypes = func() []string { //nolint:gochecknoglobals // a constant list
	var types []string
	for _, event := range slices.Concat([]domain.Event{
		providers.Registered{}, providers.Updated{}, providers.CredentialsRotated{}, providers.Deleted{},
	}, keys.Events(), prices.Events(), budgets.Events(), routing.Events(), costsettings.Events()) {
		types = append(types, event.EventType())
	}
	return types
}()

// Changed implements plane.Source.
func (s source) Changed(ctx context.Context, tenant string, after int64) (changed bool, upTo int64, err error) {
	position, head, err := s.node.store.Newest(ctx, tenant, after, configurationTypes)
	return position > 0, head, err //nolint:wrapcheck // says what it did
}

// Load implements plane.Source.
func (s source) Load(ctx context.Context, tenant string, upTo int64, patience time.Duration) (*plane.Configuration, error) {
	patient, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	configuration := &plane.Configuration{Fallback: routing.DefaultFallback()}
	err := s.node.runner.Wait(patient, tenant, upTo, projections.ProvidersName, projections.KeysName, projections.PricesName, projections.BudgetsName)
	switch {
	case errors.Is(err, projections.ErrHalted), errors.Is(err, projections.ErrLagging):
		configuration.Lagging = err
	case err != nil:
		return nil, err //nolint:wrapcheck // says what it waited for
	}
	read := s.node.dataPlaneReads()
	registered, err := read.Registered(ctx, tenant)
	if err != nil {
		return nil, err //nolint:wrapcheck // says what it read
	}
	configuration.Providers = make([]plane.Provider, len(registered))
	for i, provider := range registered {
		configuration.Providers[i] = plane.Provider(provider)
	}
	if configuration.Prices, err = read.Prices.Book(ctx, tenant); err != nil {
		return nil, err //nolint:wrapcheck // says what it read
	}
	if err := s.node.loadBudgets(ctx, tenant, configuration); err != nil {
		return nil, err
	}
	if err := s.loadRouting(ctx, tenant, configuration); err != nil {
		return nil, err
	}
	if configuration.Keys, err = read.Keys(ctx, tenant); err != nil {
		return nil, err //nolint:wrapcheck // says what it read
	}
	if configuration.Lagging != nil {
		return configuration, s.revoke(ctx, tenant, configuration.Keys)
	}
	return configuration, nil
}

// revoke marks the keys that were revoked according to the log, which the read table may not show.
func (s source) revoke(ctx context.Context, tenant string, known map[string]keys.Key) error {
	byStream := map[string]string{}
	for id, key := range known {
		if !key.IsRevoked {
			byStream[keys.Stream(id)] = id
		}
	}
	revoked, err := s.node.store.Having(ctx, tenant, keys.Revoked{}.EventType(), slices.Collect(maps.Keys(byStream)))
	for _, stream := range revoked {
		key := known[byStream[stream]]
		key.IsRevoked = true
		known[key.ID] = key
	}
	return err //nolint:wrapcheck // says what it looked for
}

// loadRouting reads rules and chain from the log: each of their events has all of it.
func (s source) loadRouting(ctx context.Context, tenant string, into *plane.Configuration) error {
	for _, one := range []struct {
		stream string
		event  domain.Event
	}{
		{routing.RulesetStream(tenant), routing.RulesetReplaced{}},
		{routing.FallbackStream(tenant), routing.FallbackReplaced{}},
	} {
		last, found, err := s.node.store.Last(ctx, tenant, one.stream, one.event.EventType())
		if err != nil {
			return err //nolint:wrapcheck // says what it read
		}
		if !found {
			continue
		}
		payload, err := s.node.codec.Decode(last.Type, last.Data)
		if err != nil {
			return fmt.Errorf("read the routing: %w", err)
		}
		switch e := payload.(type) {
		case routing.RulesetReplaced:
			into.Rules, into.RulesVersion = e.Ruleset.Compiled(), last.Version
		case routing.FallbackReplaced:
			into.Fallback, into.FallbackVersion = e.Fallback, last.Version
		}
	}
	return nil
}

// Health implements plane.Source.
func (s source) Health(ctx context.Context, tenant string) (map[string]providers.Status, error) {
	return s.node.dataPlaneReads().Statuses(ctx, tenant) //nolint:wrapcheck // says what it read
}

func (n *node) dataPlaneReads() *readapi.DataPlane {
	return &readapi.DataPlane{Providers: n.providerReads(), Prices: n.priceReads()}
}
