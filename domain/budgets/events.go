package budgets

import (
	"github.com/google/uuid"

	"github.com/archonhq/archon/domain"
)

// Set says that a budget holds from now on, in its whole present period too. It has all of the budget.
type Set struct {
	Subject
	Config
}

// Removed says that nothing bounds the subject's spending any more.
type Removed struct {
	Subject
}

// EventType implements domain.Event.
func (Set) EventType() string { return "budget.set.v1" }

// EventType implements domain.Event.
func (Removed) EventType() string { return "budget.removed.v1" }

// Events lists every event of this context by its zero value.
func Events() []domain.Event { return []domain.Event{Set{}, Removed{}} }

// nameSpace is the UUID namespace of budgets' ids; it must never change.
var nameSpace = uuid.MustParse("6d0a2c54-7f1e-5b3a-9e42-3c8f51d7a906")

// BudgetID is the id of the budget of a subject, of which it has one.
func BudgetID(subject Subject) string {
	return uuid.NewSHA1(nameSpace, []byte(string(subject.Level)+"\x00"+subject.ID)).String()
}

// Stream is the stream of the budget of a subject.
func Stream(subject Subject) string { return "budget-" + BudgetID(subject) }
