package alerts

import (
	"github.com/google/uuid"

	"github.com/archonhq/archon/domain"
)

// Raised says that something needs somebody's attention from now on.
type Raised struct {
	AlertID string         `json:"alert_id"`
	Kind    Kind           `json:"kind"`
	Subject string         `json:"subject"`
	Message string         `json:"message"`
	Details map[string]any `json:"details,omitempty"`
}

// Resolved says that it does not any more.
type Resolved struct {
	AlertID string `json:"alert_id"`
	Kind    Kind   `json:"kind"`
	Subject string `json:"subject"`
	// Resolution says what resolved it.
	Resolution string `json:"resolution"`
}

// EventType implements domain.Event.
func (Raised) EventType() string { return "alert.raised.v1" }

// EventType implements domain.Event.
func (Resolved) EventType() string { return "alert.resolved.v1" }

// Events lists every event of this context by its zero value.
func Events() []domain.Event { return []domain.Event{Raised{}, Resolved{}} }

// nameSpace is the UUID namespace of alerts' streams; it must never change.
var nameSpace = uuid.MustParse("e2c3a1d0-5b1f-5f7e-8c7d-0d4f8b9a6c35")

// Stream is the stream of the alerts about one thing.
func Stream(kind Kind, subject string) string {
	return "alert-" + uuid.NewSHA1(nameSpace, []byte(string(kind)+"\x00"+subject)).String()
}
