package domain_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/archonhq/archon/domain"
)

type added int

func (added) EventType() string { return "test.added.v1" }

func TestFoldTakesEventsInOrderFromTheZeroState(t *testing.T) {
	t.Parallel()
	decider := domain.Decider[string, struct{}]{Evolve: func(state string, event domain.Event) string {
		return fmt.Sprint(state, "+", event)
	}}
	if got := decider.Fold(); got != "" {
		t.Errorf("of nothing: %q", got)
	}
	if got := decider.Fold(added(1), added(2), added(3)); got != "+1+2+3" {
		t.Errorf("got %q", got)
	}
}

func TestWithSaysOneThingMoreOfACopy(t *testing.T) {
	t.Parallel()
	bare := &domain.Refusal{Kind: domain.Conflict, Code: "taken", Message: "It is taken."}
	named := bare.With("by", "x")
	both := named.With("since", 3)
	again := named.With("by", "y")
	if bare.Details != nil || len(named.Details) != 1 || named.Details["by"] != "x" {
		t.Error("the one that it was made from has changed")
	}
	if len(both.Details) != 2 || both.Details["since"] != 3 || again.Details["by"] != "y" {
		t.Errorf("got %v and %v", both.Details, again.Details)
	}
	if both.Kind != domain.Conflict || both.Code != "taken" || both.Message != "It is taken." {
		t.Errorf("got %+v", both)
	}
	var refusal *domain.Refusal
	if err := fmt.Errorf("wrapped: %w", both); !errors.As(err, &refusal) || refusal.Error() != "taken: It is taken." {
		t.Errorf("got %v", refusal)
	}
}
