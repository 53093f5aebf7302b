package domain_test

import (
	"errors"
	"testing"

	"github.com/archonhq/archon/domain"
)

func TestFieldsThatDoNotFitAreARefusalAndNoneAreNone(t *testing.T) {
	t.Parallel()
	for _, none := range []map[string]any{nil, {}} {
		if err := domain.InvalidFields("It is not valid.", none); err != nil {
			t.Errorf("got %v", err)
		}
	}
	refusal, is := errors.AsType[*domain.Refusal](domain.InvalidFields("It is not valid.", map[string]any{"name": "must not be empty"}))
	if !is || refusal.Kind != domain.Invalid || refusal.Code != "validation_failed" || refusal.Message != "It is not valid." || refusal.Details["name"] != "must not be empty" {
		t.Errorf("got %+v", refusal)
	}
}
