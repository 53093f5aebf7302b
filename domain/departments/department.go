package departments

import (
	"maps"

	"github.com/archonhq/archon/domain"
)

// Refusals of this context.
var (
	ErrNotFound  = &domain.Refusal{Kind: domain.NotFound, Code: "not_found", Message: "There is no such department."}
	ErrIDTaken   = &domain.Refusal{Kind: domain.Conflict, Code: "id_taken", Message: "There is a department with this id already; rename that one, or choose another id."}
	ErrNameTaken = &domain.Refusal{Kind: domain.Conflict, Code: "name_taken", Message: "Another department has this name already, maybe in another case; choose another one, or rename that department first."}
)

// Command is something a caller wants of a department: Create or Rename.
//
//sumtype:decl
type Command interface{ command() }

// Create makes a department.
type Create struct {
	DepartmentID string
	Name         string
}

// Rename calls a department something else.
type Rename struct{ Name string }

func (Create) command() {}
func (Rename) command() {}

// State is what decisions about a department rest on: the department itself, and who holds the names that matter to the
// command.
type State struct {
	DepartmentID string
	Name         string
	// holders is folded name to department id, for every name stream that was folded.
	holders map[string]string
}

// Exists tells whether there is such a department.
func (s State) Exists() bool { return s.DepartmentID != "" }

// Decider is the behaviour of a department.
func Decider() domain.Decider[State, Command] {
	return domain.Decider[State, Command]{Decide: decide, Evolve: evolve}
}

func decide(state State, command Command) ([]domain.To, error) {
	switch c := command.(type) {
	case Create:
		return create(state, c)
	case Rename:
		return rename(state, c)
	}
	return nil, nil
}

func create(state State, c Create) ([]domain.To, error) {
	details := map[string]any{}
	if reason := idProblem(c.DepartmentID); reason != "" {
		details["id"] = reason
	}
	if reason := nameProblem(c.Name); reason != "" {
		details["name"] = reason
	}
	if err := domain.InvalidFields("The department is not valid.", details); err != nil {
		return nil, err
	}
	if state.Exists() {
		return nil, ErrIDTaken
	}
	name := normalised(c.Name)
	if state.holders[folded(name)] != "" {
		return nil, ErrNameTaken
	}
	return []domain.To{
		{Stream: Stream(c.DepartmentID), Event: Created{DepartmentID: c.DepartmentID, Name: name}},
		{Stream: NameStream(name), Event: NameClaimed{DepartmentID: c.DepartmentID, Name: name}},
	}, nil
}

func rename(state State, c Rename) ([]domain.To, error) {
	if !state.Exists() {
		return nil, ErrNotFound
	}
	if reason := nameProblem(c.Name); reason != "" {
		return nil, domain.InvalidFields("The department is not valid.", map[string]any{"name": reason})
	}
	name := normalised(c.Name)
	if name == state.Name {
		return nil, nil
	}
	events := []domain.To{{
		Stream: Stream(state.DepartmentID), Event: Renamed{DepartmentID: state.DepartmentID, Name: name, Was: state.Name},
	}}
	if folded(name) == folded(state.Name) {
		return events, nil // the name that it holds, in another case
	}
	if state.holders[folded(name)] != "" {
		return nil, ErrNameTaken
	}
	return append(events,
		domain.To{Stream: NameStream(name), Event: NameClaimed{DepartmentID: state.DepartmentID, Name: name}},
		domain.To{Stream: NameStream(state.Name), Event: NameReleased{DepartmentID: state.DepartmentID, Name: state.Name}},
	), nil
}

func evolve(state State, event domain.Event) State {
	switch e := event.(type) {
	case Created:
		state.DepartmentID, state.Name = e.DepartmentID, e.Name
	case Renamed:
		state.Name = e.Name
	case NameClaimed:
		state.holders = withHolder(state.holders, e.Name, e.DepartmentID)
	case NameReleased:
		state.holders = withHolder(state.holders, e.Name, "")
	}
	return state
}

// withHolder copies, since states are values.
func withHolder(holders map[string]string, name, id string) map[string]string {
	changed := make(map[string]string, len(holders)+1)
	maps.Copy(changed, holders)
	changed[folded(name)] = id
	return changed
}
