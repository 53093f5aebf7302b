// Package spec states the behaviour of deciders as sentences: given these events, when this command, then those events, or
// that refusal.
package spec

import (
	"github.com/onsi/gomega"

	"github.com/archonhq/archon/domain"
)

// Behaviour is a decider under test with what has happened so far.
type Behaviour[S, C any] struct {
	decider domain.Decider[S, C]
	events  []domain.Event
}

// Given begins a sentence.
func Given[S, C any](decider domain.Decider[S, C], events ...domain.Event) Behaviour[S, C] {
	return Behaviour[S, C]{decider: decider, events: events}
}

// Outcome is what a command came to.
type Outcome struct {
	events []domain.To
	err    error
}

// When decides a command on the given events.
func (b Behaviour[S, C]) When(command C) Outcome {
	events, err := b.decider.Decide(b.decider.Fold(b.events...), command)
	return Outcome{events: events, err: err}
}

// Then ends a sentence with exactly these events, in this order.
func (o Outcome) Then(events ...domain.To) {
	gomega.ExpectWithOffset(1, o.err).NotTo(gomega.HaveOccurred())
	gomega.ExpectWithOffset(1, o.events).To(gomega.HaveLen(len(events)))
	for i := range events {
		gomega.ExpectWithOffset(1, o.events[i]).To(gomega.Equal(events[i]))
	}
}

// ThenRefused ends a sentence with a refusal of this code, about these fields.
func (o Outcome) ThenRefused(kind domain.Kind, code string, fields ...string) {
	gomega.ExpectWithOffset(1, o.events).To(gomega.BeEmpty())
	var refusal *domain.Refusal
	gomega.ExpectWithOffset(1, o.err).To(gomega.BeAssignableToTypeOf(refusal))
	refusal, _ = o.err.(*domain.Refusal) //nolint:errorlint // a refusal is returned as it is, never wrapped
	gomega.ExpectWithOffset(1, refusal.Kind).To(gomega.Equal(kind))
	gomega.ExpectWithOffset(1, refusal.Code).To(gomega.Equal(code))
	for _, field := range fields {
		gomega.ExpectWithOffset(1, refusal.Details).To(gomega.HaveKey(field))
	}
}
