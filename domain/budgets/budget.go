package budgets

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/archonhq/archon/domain"
)

// ErrNotFound says that the subject has no budget, or that there is no such subject in the tenant.
var ErrNotFound = &domain.Refusal{Kind: domain.NotFound, Code: "not_found", Message: "There is no such budget."}

// Level is what sort of spending a budget is about.
type Level string

// The levels of budgets. A call counts in one of each, where there is one.
const (
	Tenant     Level = "tenant"
	Department Level = "department"
	Agent      Level = "agent"
	Key        Level = "key"
)

// Levels lists them, the widest first.
func Levels() []Level { return []Level{Tenant, Department, Agent, Key} }

// Subject is whose spending a budget bounds.
type Subject struct {
	Level Level `json:"level"`
	// ID is the tenant's, the department's, the agent's or the key's.
	ID string `json:"subject_id"`
}

// In is the subject with its id as it stands in the ledger, or ErrNotFound where a tenant can't have such a one.
func (s Subject) In(tenant string) (Subject, error) {
	switch s.Level {
	case Tenant:
		if s.ID == tenant {
			return s, nil
		}
	case Key:
		if id, err := uuid.Parse(s.ID); err == nil {
			return Subject{Key, id.String()}, nil
		}
	case Department, Agent:
		return s, nil
	}
	return s, ErrNotFound
}

// Valid tells whether there can be a budget for the subject: its id is text that can be kept.
func (s Subject) Valid() bool { return s.problem() == "" }

func (s Subject) problem() string {
	switch {
	case strings.TrimSpace(s.ID) == "" || strings.ContainsFunc(s.ID, unicode.IsControl) || !utf8.ValidString(s.ID):
		return "must not be blank or contain control characters"
	case len(s.ID) > maxSubjectBytes:
		return "must have at most 200 bytes"
	}
	return ""
}

// State is a budget as it is now; the zero value is none.
type State struct {
	Exists bool
	Subject
	Config
}

// Command is something a caller wants of a budget: Put or Remove.
//
//sumtype:decl
type Command interface{ command() }

// Put makes a budget what it says. A label that it leaves out stays what it is.
type Put struct {
	Subject Subject
	Config  Config
}

// Remove ends a budget.
type Remove struct{}

// Problem refuses what makes no sense whatever the state.
func (c Put) Problem() error { return c.Config.problem(c.Subject) }

func (Put) command()    {}
func (Remove) command() {}

// Decider is the behaviour of a budget.
func Decider() domain.Decider[State, Command] {
	return domain.Decider[State, Command]{Decide: decide, Evolve: evolve}
}

func decide(state State, command Command) ([]domain.To, error) {
	switch c := command.(type) {
	case Put:
		if c.Config.Department == "" {
			c.Config.Department = state.Department
		}
		if err := c.Problem(); err != nil {
			return nil, err
		}
		if state.Exists && state.Config.equal(c.Config) {
			return nil, nil
		}
		return []domain.To{{Stream: Stream(c.Subject), Event: Set{Subject: c.Subject, Config: c.Config}}}, nil
	case Remove:
		if !state.Exists {
			return nil, ErrNotFound
		}
		return []domain.To{{Stream: Stream(state.Subject), Event: Removed{Subject: state.Subject}}}, nil
	}
	return nil, nil
}

func evolve(state State, event domain.Event) State {
	switch e := event.(type) {
	case Set:
		state = State{Exists: true, Subject: e.Subject, Config: e.Config}
	case Removed:
		state.Exists = false
	}
	return state
}
