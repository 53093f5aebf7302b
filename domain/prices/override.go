package prices

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/archonhq/archon/domain"
)

// MaxOverrides bounds how many prices one command overrides.
const MaxOverrides = 200

// Override is what a model costs a tenant from a moment on, until another override of it begins. The rates are those of
// every call, however long its prompt.
type Override struct {
	ProviderType string `json:"provider_type"`
	Model        string `json:"model"`
	Rates

	EffectiveFrom time.Time `json:"effective_from"`
}

// Price is the override as a price.
func (o Override) Price() Price {
	return Price{ProviderType: o.ProviderType, Model: o.Model, Source: FromOverride, EffectiveFrom: o.EffectiveFrom, Rates: o.Rates}
}

func pricesOf(overrides []Override) []Price {
	prices := make([]Price, len(overrides))
	for i, override := range overrides {
		prices[i] = override.Price()
	}
	return prices
}

// ProviderTypes lists the types of provider that prices are known by.
func ProviderTypes() []string {
	return []string{"openai", "anthropic", "google", "mistral", "cohere", "azure_openai", "ollama", "vllm", "custom"}
}

// State is a tenant's overrides, in the order in which they were made.
type State struct{ Overrides []Override }

// Book is the list with the overrides.
func (s State) Book() Book { return NewBook(s.Overrides) }

// Set wants prices to be overridden, all of them or none.
type Set struct {
	Tenant    string
	Overrides []Override
}

// Decider is the behaviour of a tenant's price book.
func Decider() domain.Decider[State, Set] {
	return domain.Decider[State, Set]{Decide: decide, Evolve: evolve}
}

func decide(state State, c Set) ([]domain.To, error) {
	overrides, err := Normalised(c.Overrides)
	if err != nil {
		return nil, err
	}
	var changed []Override
	before := byName(pricesOf(state.Overrides))
	for _, override := range overrides {
		holds, found := holding(before[name{override.ProviderType, override.Model}], override.EffectiveFrom)
		if found && holds.Rates == override.Rates {
			continue // it says nothing new of any moment
		}
		changed = append(changed, override)
		put(before, override.Price())
	}
	if len(changed) == 0 {
		return nil, nil
	}
	return []domain.To{{Stream: Stream(c.Tenant), Event: Overridden{Overrides: changed}}}, nil
}

func evolve(state State, event domain.Event) State {
	if overridden, is := event.(Overridden); is {
		// A new array each time, since states are values.
		state.Overrides = slices.Concat(state.Overrides, overridden.Overrides)
	}
	return state
}

// Normalised is the form in which overrides are stored, or a refusal with the first thing that is wrong with each field.
func Normalised(sent []Override) ([]Override, error) {
	details := map[string]any{}
	if len(sent) == 0 || len(sent) > MaxOverrides {
		details["prices"] = fmt.Sprintf("must have between 1 and %d entries", MaxOverrides)
		sent = nil
	}
	seen := map[Override]bool{}
	overrides := make([]Override, len(sent))
	for i, override := range sent {
		override.Model = strings.TrimSpace(override.Model)
		override.EffectiveFrom = override.EffectiveFrom.UTC().Truncate(time.Microsecond)
		overrides[i] = override
		for field, reason := range override.problems() {
			details[fmt.Sprintf("prices.%d.%s", i, field)] = reason
		}
		identity := Override{ProviderType: override.ProviderType, Model: override.Model, EffectiveFrom: override.EffectiveFrom}
		if seen[identity] {
			details[fmt.Sprintf("prices.%d", i)] = "is about the same model and moment as an entry before it"
		}
		seen[identity] = true
	}
	if err := domain.InvalidFields("The prices are not valid.", details); err != nil {
		return nil, err
	}
	return overrides, nil
}

// The first and the last moment from which an override may hold.
var (
	earliest = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) //nolint:gochecknoglobals // a constant
	latest   = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC) //nolint:gochecknoglobals // a constant
)

func (o Override) problems() map[string]string {
	problems := map[string]string{}
	if !slices.Contains(ProviderTypes(), o.ProviderType) {
		problems["provider_type"] = "is not a known provider type"
	}
	switch {
	case o.Model == "":
		problems["model"] = "must not be empty"
	case len(o.Model) > maxModelBytes:
		problems["model"] = "must be at most 200 bytes long"
	case strings.ContainsFunc(o.Model, unicode.IsControl):
		problems["model"] = "must not contain control characters"
	}
	if o.EffectiveFrom.Before(earliest) || o.EffectiveFrom.After(latest) {
		problems["effective_from"] = "must be between the years 2000 and 2100"
	}
	for field, rate := range map[string]Rate{
		"input_usd_per_1m": o.Input, "output_usd_per_1m": o.Output, "cached_input_usd_per_1m": o.CacheRead,
		"cache_write_usd_per_1m": o.CacheWrite,
	} {
		if rate < 0 || rate > MaxRate {
			problems[field] = "must be between 0 and 10000"
		}
	}
	return problems
}
