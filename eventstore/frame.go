package eventstore

import (
	"encoding/json"
	"fmt"
)

// Frame is the event as one message to a subscriber: the fields of the export, whose `type` is called `event_type` here,
// since `type` says that the message is an event.
func (r *Recorded) Frame() ([]byte, error) {
	frame, err := json.Marshal(struct {
		Type      string `json:"type"`
		EventType string `json:"event_type"`
		exportLine
	}{"event", r.Type, r.line()})
	if err != nil {
		return nil, fmt.Errorf("frame position %d: %w", r.Position, err)
	}
	return frame, nil
}

// BareFrame is Frame for subscribers who may know that something happened, and not what.
func (r *Recorded) BareFrame() ([]byte, error) {
	frame, err := json.Marshal(struct {
		Type      string `json:"type"`
		EventType string `json:"event_type"`
		Position  int64  `json:"position"`
		Stream    string `json:"stream"`
	}{"event", r.Type, r.Position, r.Stream})
	if err != nil {
		return nil, fmt.Errorf("frame position %d: %w", r.Position, err)
	}
	return frame, nil
}
