package spec_test

import (
	"testing"

	"github.com/onsi/gomega"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/internal/spec"
)

type counted struct{ N int }

func (counted) EventType() string { return "test.counted.v1" }

// counter counts up, refuses to count down and takes zero for no change.
func counter() domain.Decider[int, int] {
	return domain.Decider[int, int]{
		Decide: func(state, n int) ([]domain.To, error) {
			switch {
			case n < 0:
				return nil, &domain.Refusal{Kind: domain.Invalid, Code: "down", Details: map[string]any{"n": "is negative"}}
			case n == 0:
				return nil, nil
			}
			return []domain.To{{Stream: "s", Event: counted{N: state + n}}}, nil
		},
		Evolve: func(_ int, event domain.Event) int { return event.(counted).N },
	}
}

func TestSentencesThatAreTruePass(t *testing.T) { //nolint:paralleltest // gomega's handler is global
	gomega.RegisterTestingT(t)
	spec.Given(counter()).When(2).Then(domain.To{Stream: "s", Event: counted{N: 2}})
	spec.Given(counter(), counted{N: 1}, counted{N: 5}).When(2).Then(domain.To{Stream: "s", Event: counted{N: 7}})
	spec.Given(counter(), counted{N: 1}).When(0).Then()
	spec.Given(counter(), counted{N: 1}).When(-1).ThenRefused(domain.Invalid, "down", "n")
}

func TestSentencesThatAreFalseFail(t *testing.T) { //nolint:paralleltest // gomega's handler is global
	for name, sentence := range map[string]func(){
		"another event":     func() { spec.Given(counter()).When(2).Then(domain.To{Stream: "s", Event: counted{N: 3}}) },
		"another stream":    func() { spec.Given(counter()).When(2).Then(domain.To{Stream: "t", Event: counted{N: 2}}) },
		"no event":          func() { spec.Given(counter()).When(2).Then() },
		"one event":         func() { spec.Given(counter()).When(0).Then(domain.To{Stream: "s", Event: counted{}}) },
		"no refusal":        func() { spec.Given(counter()).When(-1).Then() },
		"a refusal":         func() { spec.Given(counter()).When(2).ThenRefused(domain.Invalid, "down") },
		"a refused nothing": func() { spec.Given(counter()).When(0).ThenRefused(domain.Invalid, "down") },
		"another kind":      func() { spec.Given(counter()).When(-1).ThenRefused(domain.Conflict, "down") },
		"another code":      func() { spec.Given(counter()).When(-1).ThenRefused(domain.Invalid, "up") },
		"another field":     func() { spec.Given(counter()).When(-1).ThenRefused(domain.Invalid, "down", "m") },
	} {
		failed := false
		gomega.RegisterFailHandler(func(string, ...int) {
			failed = true
			panic("failed") // as ginkgo does, so that nothing after it runs
		})
		func() {
			defer func() { _ = recover() }()
			sentence()
		}()
		if !failed {
			t.Errorf("a false sentence passes: %s", name)
		}
	}
}
