package alerts

import (
	"slices"
	"strings"
	"unicode"

	"github.com/archonhq/archon/domain"
)

// Kind is what an alert is about.
type Kind string

// The kinds of alert.
const (
	// UnpricedModel is a model that was called and has no price, so that what its calls cost is not known.
	UnpricedModel Kind = "unpriced_model"
	// DeadCredentials are credentials that the provider refuses, so that it is left alone.
	DeadCredentials Kind = "dead_credentials"
	// BudgetWarning is a budget that has been spent up to its warn threshold, BudgetExhausted one that refuses calls.
	BudgetWarning   Kind = "budget_warning"
	BudgetExhausted Kind = "budget_exhausted"
)

// Kinds lists the kinds of alert.
func Kinds() []Kind { return []Kind{UnpricedModel, DeadCredentials, BudgetWarning, BudgetExhausted} }

// Bounds of an alert's texts.
const (
	maxSubjectBytes = 300
	maxMessageBytes = 1000
)

// Alert is something that somebody should look at.
type Alert struct {
	Kind Kind
	// Subject names, within the kind, what it is about: an id, or names. There is one open alert of a kind and subject.
	Subject string
	// Message is a sentence for a person that says what to do.
	Message string
	// Details say more for programs: names and numbers, never a secret, a prompt, an answer or personal data.
	Details map[string]any
}

// Unpriced is the alert about a model without a price.
func Unpriced(providerType, model string) Alert {
	return Alert{
		Kind: UnpricedModel, Subject: ModelSubject(providerType, model),
		Message: "A model was called that has no price, so its calls are not in any cost; set one with PUT /api/v1/cost/pricing.",
		Details: map[string]any{"provider_type": providerType, "model": model},
	}
}

// CredentialsRefused is the alert about a provider that refuses its credentials.
func CredentialsRefused(providerID, name string) Alert {
	return Alert{
		Kind: DeadCredentials, Subject: providerID,
		Message: "A provider refuses its credentials, or the account they are of, and gets no calls; mend the account and test the connection, " +
			"or send new credentials with PUT /api/v1/router/providers/" + providerID + "/credentials.",
		Details: map[string]any{"provider_id": providerID, "provider_name": name},
	}
}

// ModelSubject is the subject of alerts about a model.
func ModelSubject(providerType, model string) string { return providerType + "/" + model }

// ModelOf is the inverse of ModelSubject.
func ModelOf(subject string) (providerType, model string) {
	providerType, model, _ = strings.Cut(subject, "/")
	return providerType, model
}

func (a Alert) problem() error {
	details := map[string]any{}
	if !slices.Contains(Kinds(), a.Kind) {
		details["kind"] = "is not a known kind of alert"
	}
	if reason := textProblem(a.Subject, maxSubjectBytes); reason != "" {
		details["subject"] = reason
	}
	if reason := textProblem(a.Message, maxMessageBytes); reason != "" {
		details["message"] = reason
	}
	return domain.InvalidFields("The alert is not valid.", details)
}

func textProblem(text string, maxBytes int) string {
	switch {
	case strings.TrimSpace(text) == "":
		return "must not be empty"
	case len(text) > maxBytes:
		return "is too long"
	case strings.ContainsFunc(text, unicode.IsControl):
		return "must not contain control characters"
	}
	return ""
}

// State is the last alert of a stream.
type State struct {
	AlertID string
	Kind    Kind
	Subject string
	IsOpen  bool
}

// Command is something wanted of the alerts about one thing: Raise or Resolve.
//
//sumtype:decl
type Command interface{ command() }

// Raise opens an alert under a new id, unless one is open.
type Raise struct {
	AlertID string
	Alert   Alert
}

// Resolve closes the open alert, if there is one.
type Resolve struct {
	// Resolution says what resolved it.
	Resolution string
}

func (Raise) command()   {}
func (Resolve) command() {}

// Decider is the behaviour of the alerts about one thing.
func Decider() domain.Decider[State, Command] {
	return domain.Decider[State, Command]{Decide: decide, Evolve: evolve}
}

func decide(state State, command Command) ([]domain.To, error) {
	switch c := command.(type) {
	case Raise:
		if err := c.Alert.problem(); err != nil {
			return nil, err
		}
		if state.IsOpen {
			return nil, nil
		}
		return []domain.To{{Stream: Stream(c.Alert.Kind, c.Alert.Subject), Event: Raised{
			AlertID: c.AlertID, Kind: c.Alert.Kind, Subject: c.Alert.Subject, Message: c.Alert.Message, Details: c.Alert.Details,
		}}}, nil
	case Resolve:
		if !state.IsOpen {
			return nil, nil
		}
		return []domain.To{{Stream: Stream(state.Kind, state.Subject), Event: Resolved{
			AlertID: state.AlertID, Kind: state.Kind, Subject: state.Subject, Resolution: c.Resolution,
		}}}, nil
	}
	return nil, nil
}

func evolve(state State, event domain.Event) State {
	switch e := event.(type) {
	case Raised:
		state = State{AlertID: e.AlertID, Kind: e.Kind, Subject: e.Subject, IsOpen: true}
	case Resolved:
		state.IsOpen = false
	}
	return state
}
