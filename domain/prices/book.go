package prices

import (
	"slices"
	"time"

	"github.com/archonhq/archon/domain"
)

// Book is every price that a tenant's calls may have: the list that comes with the program, and the tenant's overrides. The
// zero value is the book without any price; use NewBook. It is read-only and safe for concurrent use.
type Book struct {
	listed, overridden map[name][]Price
}

type name struct{ providerType, model string }

// NewBook is the list with a tenant's overrides, given in the order in which they were made: of two with the same model and
// date the later one counts.
func NewBook(overrides []Override) Book {
	return Book{listed: listedByName(), overridden: byName(pricesOf(overrides))}
}

// At is the price of a model at a moment; false says that it has none, so that a call of it is unpriced, not free.
//
// An override that holds goes before the list, which goes before being free. A model that is in neither under its own name
// has the price of the longest prefix that is, where the rest is nothing but a date or a version: gpt-4o-2024-08-06 costs
// what gpt-4o does, but gpt-4o-mini has a price of its own or none. An alias whose model changes, like
// mistral-large-latest, stands for nothing else. Azure's models are its deployments' base models, as the provider names
// them in its answers.
func (b Book) At(providerType, model string, at time.Time) (Price, bool) {
	for known := range known(model) {
		if price, holds := b.holding(name{providerType, known}, at); holds {
			return price, true
		}
	}
	if isFree(providerType) {
		return Price{ProviderType: providerType, Model: model, Source: Free}, true
	}
	return Price{}, false
}

// Charge is what tokens of a model that a call began to consume at a moment cost, and the price that this is by. It is how a call
// is priced, by the data plane as well as later; found is false where the model has no price.
func (b Book) Charge(providerType, model string, at time.Time, tokens domain.Tokens) (price Price, cost Amount, found bool) {
	if price, found = b.At(providerType, model, at); found {
		cost = price.Cost(tokens)
	}
	return price, cost, found
}

// IsCurrent tells whether a price of the book is what its model costs at a moment.
func (b Book) IsCurrent(price Price, at time.Time) bool {
	current, holds := b.holding(name{price.ProviderType, price.Model}, at)
	return holds && Compare(current, price) == 0
}

// holding is what is in the book for exactly one name: the override that holds, else the list.
func (b Book) holding(n name, at time.Time) (Price, bool) {
	if price, holds := holding(b.overridden[n], at); holds {
		return price, true
	}
	return holding(b.listed[n], at)
}

// Prices are all that is in the book, past and future ones included, by provider type, model and date. What is free without
// being listed is not among them.
func (b Book) Prices() []Price {
	var all []Price
	for _, prices := range []map[name][]Price{b.listed, b.overridden} {
		for _, list := range prices {
			all = append(all, list...)
		}
	}
	slices.SortFunc(all, Compare)
	return all
}

// holding is the last of prices, which are in order of their dates, that has begun.
func holding(prices []Price, at time.Time) (Price, bool) {
	for _, price := range slices.Backward(prices) {
		if !price.EffectiveFrom.After(at) {
			return price, true
		}
	}
	return Price{}, false
}

// byName groups prices, each group in order of dates, the last of those with the same date only.
func byName(prices []Price) map[name][]Price {
	groups := map[name][]Price{}
	for _, price := range prices {
		put(groups, price)
	}
	return groups
}

func put(groups map[name][]Price, price Price) {
	n := name{price.ProviderType, price.Model}
	at, found := slices.BinarySearchFunc(groups[n], price.EffectiveFrom, func(p Price, from time.Time) int { return p.EffectiveFrom.Compare(from) })
	if found {
		groups[n][at] = price
		return
	}
	groups[n] = slices.Insert(groups[n], at, price)
}

func isFree(providerType string) bool { return providerType == "ollama" || providerType == "vllm" }
