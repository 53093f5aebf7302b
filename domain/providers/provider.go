package providers

import (
	"maps"
	"slices"

	"github.com/archonhq/archon/domain"
)

// Refusals of this context.
var (
	ErrNotFound  = &domain.Refusal{Kind: domain.NotFound, Code: "not_found", Message: "There is no such provider."}
	ErrNameTaken = &domain.Refusal{Kind: domain.Conflict, Code: "name_taken", Message: "Another provider has this name already; choose another one, or rename that provider first."}
)

// Command is something a caller wants of a provider: Register, Update, RotateCredentials, Delete or RemoveSecret.
//
//sumtype:decl
type Command interface{ command() }

// Register makes a provider known. Probe is the result of the first connection test, which does not decide whether the
// registration stands.
type Register struct {
	ProviderID string
	Config     Config
	Secret     Secret
	Probe      Probed
}

// Update replaces the configuration. The secret is named anew because header values are part of it.
type Update struct {
	Config Config
	Secret Secret
}

// RotateCredentials makes calls use another version of the secret, which has been tested.
type RotateCredentials struct{ Secret Secret }

// Delete takes the provider out of service.
type Delete struct{}

// RemoveSecret records that a deleted provider's secret has been destroyed.
type RemoveSecret struct{}

func (Register) command()          {}
func (Update) command()            {}
func (RotateCredentials) command() {}
func (Delete) command()            {}
func (RemoveSecret) command()      {}

// State is what decisions about a provider rest on: the provider itself, and who holds the names that matter to the
// command.
type State struct {
	ProviderID    string
	Config        Config
	Secret        Secret
	Deleted       bool
	SecretRemoved bool
	// holders is name to provider id, for every name stream that was folded.
	holders map[string]string
}

// Holder is the provider that has a name, or empty where nobody has; only for names whose stream was folded.
func (s State) Holder(name string) string { return s.holders[name] }

// Exists tells whether there is a provider that can be worked with.
func (s State) Exists() bool { return s.ProviderID != "" && !s.Deleted }

// Decider is the behaviour of a provider.
func Decider() domain.Decider[State, Command] {
	return domain.Decider[State, Command]{Decide: decide, Evolve: evolve}
}

func decide(state State, command Command) ([]domain.To, error) {
	switch c := command.(type) {
	case Register:
		return register(state, c)
	case Update:
		return update(state, c)
	case RotateCredentials:
		return rotate(state, c)
	case Delete:
		return remove(state)
	case RemoveSecret:
		return removeSecret(state)
	}
	return nil, nil
}

func register(state State, c Register) ([]domain.To, error) {
	config := c.Config.normalised()
	if err := config.Problem(); err != nil {
		return nil, err
	}
	if state.holders[config.Name] != "" {
		return nil, ErrNameTaken
	}
	probe := c.Probe
	probe.ProviderID, probe.Trigger = c.ProviderID, OnRegistration
	return []domain.To{
		{Stream: Stream(c.ProviderID), Event: Registered{ProviderID: c.ProviderID, Config: config, Secret: c.Secret}},
		{Stream: NameStream(config.Name), Event: NameClaimed{ProviderID: c.ProviderID, Name: config.Name}},
		{Stream: HealthStream(c.ProviderID), Event: probe.after(Health{})},
	}, nil
}

func rotate(state State, c RotateCredentials) ([]domain.To, error) {
	if !state.Exists() {
		return nil, ErrNotFound
	}
	return []domain.To{{
		Stream: Stream(state.ProviderID),
		Event:  CredentialsRotated{ProviderID: state.ProviderID, Secret: c.Secret},
	}}, nil
}

func remove(state State) ([]domain.To, error) {
	if !state.Exists() {
		return nil, ErrNotFound
	}
	return []domain.To{
		{
			Stream: Stream(state.ProviderID),
			Event:  Deleted{ProviderID: state.ProviderID, Name: state.Config.Name, VaultPath: state.Secret.VaultPath},
		},
		{Stream: NameStream(state.Config.Name), Event: NameReleased{ProviderID: state.ProviderID, Name: state.Config.Name}},
	}, nil
}

func update(state State, c Update) ([]domain.To, error) {
	if !state.Exists() {
		return nil, ErrNotFound
	}
	config := c.Config.normalised()
	if err := config.Problem(); err != nil {
		return nil, err
	}
	changed := config.changes(state.Config)
	if c.Secret != state.Secret && !slices.Contains(changed, "custom_headers") {
		changed = append(changed, "custom_headers") // a header's value changed, its name did not
	}
	if len(changed) == 0 {
		return nil, nil
	}
	events := []domain.To{{
		Stream: Stream(state.ProviderID),
		Event:  Updated{ProviderID: state.ProviderID, Config: config, Secret: c.Secret, Changed: changed},
	}}
	if config.Name == state.Config.Name {
		return events, nil
	}
	if state.holders[config.Name] != "" {
		return nil, ErrNameTaken
	}
	return append(events,
		domain.To{Stream: NameStream(config.Name), Event: NameClaimed{ProviderID: state.ProviderID, Name: config.Name}},
		domain.To{Stream: NameStream(state.Config.Name), Event: NameReleased{ProviderID: state.ProviderID, Name: state.Config.Name}},
	), nil
}

func removeSecret(state State) ([]domain.To, error) {
	if !state.Deleted || state.SecretRemoved {
		return nil, nil
	}
	return []domain.To{{
		Stream: Stream(state.ProviderID),
		Event:  SecretRemoved{ProviderID: state.ProviderID, VaultPath: state.Secret.VaultPath},
	}}, nil
}

func evolve(state State, event domain.Event) State {
	switch e := event.(type) {
	case Registered:
		state.ProviderID, state.Config, state.Secret = e.ProviderID, e.Config, e.Secret
	case Updated:
		state.Config, state.Secret = e.Config, e.Secret
	case CredentialsRotated:
		state.Secret = e.Secret
	case Deleted:
		state.Deleted = true
	case SecretRemoved:
		state.SecretRemoved = true
	case NameClaimed:
		state.holders = withHolder(state.holders, e.Name, e.ProviderID)
	case NameReleased:
		state.holders = withHolder(state.holders, e.Name, "")
	}
	return state
}

// withHolder copies, since states are values.
func withHolder(holders map[string]string, name, id string) map[string]string {
	changed := make(map[string]string, len(holders)+1)
	maps.Copy(changed, holders)
	changed[name] = id
	return changed
}
