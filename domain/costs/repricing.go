package costs

import (
	"strings"
	"time"
	"unicode"

	"github.com/archonhq/archon/domain"
)

// ErrNoRepricing says that there is no such repricing in the tenant.
var ErrNoRepricing = &domain.Refusal{Kind: domain.NotFound, Code: "not_found", Message: "There is no such repricing."}

// Repricing is the state of a repricing; the zero value is one that nobody asked for.
type Repricing struct {
	Requested RepricingRequested
	// Place is the last call that is done, the zero value before the first.
	Place     Place
	Found     Found
	Completed bool
}

// Exists tells whether somebody asked for it.
func (r Repricing) Exists() bool { return r.Requested.RepricingID != "" }

// Request asks for a repricing.
type Request struct{ RepricingRequested }

// RepricingDecider is the behaviour of a repricing as far as others can want something of it. What it finds is recorded by
// the job that does it.
func RepricingDecider() domain.Decider[Repricing, Request] {
	return domain.Decider[Repricing, Request]{Decide: decideRepricing, Evolve: evolveRepricing}
}

// maxNameBytes bounds names of models; no model's is that long.
const maxNameBytes = 200

func decideRepricing(state Repricing, c Request) ([]domain.To, error) {
	if state.Exists() {
		return nil, nil
	}
	wanted := c.RepricingRequested
	wanted.From, wanted.Until = wanted.From.UTC().Truncate(time.Microsecond), wanted.Until.UTC().Truncate(time.Microsecond)
	details := map[string]any{}
	if !wanted.From.Before(wanted.Until) {
		details["from"] = "must be before to"
	}
	if len(wanted.Model) > maxNameBytes || strings.ContainsFunc(wanted.Model, unicode.IsControl) {
		details["model"] = "is not the name of a model"
	}
	if err := domain.InvalidFields("Calls can't be priced again in this way.", details); err != nil {
		return nil, err
	}
	return []domain.To{{Stream: RepricingStream(wanted.RepricingID), Event: wanted}}, nil
}

func evolveRepricing(state Repricing, event domain.Event) Repricing {
	switch e := event.(type) {
	case RepricingRequested:
		state.Requested = e
	case RepricingProgressed:
		state.Place, state.Found = e.Place, e.Found
	case RepricingCompleted:
		state.Found, state.Completed = e.Found, true
	}
	return state
}
