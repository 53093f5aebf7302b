package api

import (
	"encoding/json"
	"fmt"
)

// Change is a field of a PATCH that may be null: absent leaves the present value, null removes it, a value replaces it.
// The zero value is an absent field.
type Change[T any] struct {
	// Sent tells whether the field was in the body.
	Sent bool
	// Value is what was sent; nil stands for null.
	Value *T
}

// UnmarshalJSON is called for fields that are in the body only, null included.
func (c *Change[T]) UnmarshalJSON(data []byte) error {
	var value *T
	if err := json.Unmarshal(data, &value); err != nil {
		return fmt.Errorf("read a change: %w", err)
	}
	*c = Change[T]{Sent: true, Value: value}
	return nil
}

// MarshalJSON writes the value, or null where there is none.
func (c Change[T]) MarshalJSON() ([]byte, error) {
	data, err := json.Marshal(c.Value)
	if err != nil {
		return nil, fmt.Errorf("write a change: %w", err)
	}
	return data, nil
}

// Apply returns the value after the change.
func (c Change[T]) Apply(present *T) *T {
	if c.Sent {
		return c.Value
	}
	return present
}
