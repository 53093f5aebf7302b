package domain

// Event is a fact in the past tense. EventType is its stored name, "<context>.<fact>.v<n>", a constant.
type Event interface {
	EventType() string
}

// To is an event with the stream it goes to.
type To struct {
	Stream string
	Event  Event
}

// Decider is a context's behaviour, pure. State S is folded from events by Evolve, beginning with the zero value; Decide
// answers a command C with the events that it causes, or with a *Refusal. No events and no refusal means that nothing
// has to change.
type Decider[S, C any] struct {
	Decide func(state S, command C) ([]To, error)
	Evolve func(state S, event Event) S
}

// Fold is the state after events.
func (d Decider[S, C]) Fold(events ...Event) S {
	var state S
	for _, event := range events {
		state = d.Evolve(state, event)
	}
	return state
}
