package prices

import (
	"github.com/google/uuid"

	"github.com/archonhq/archon/domain"
)

// Overridden says that a tenant's calls of some models cost something else from some dates on.
type Overridden struct {
	Overrides []Override `json:"overrides"`
}

// EventType implements domain.Event.
func (Overridden) EventType() string { return "prices.overridden.v1" }

// Events lists every event of this context by its zero value.
func Events() []domain.Event { return []domain.Event{Overridden{}} }

// nameSpace is the UUID namespace of price books' streams; it must never change.
var nameSpace = uuid.MustParse("4c1f0f3b-8d6e-5a57-9b0c-6f3a7f5d2e84")

// Stream is the stream of a tenant's overrides.
func Stream(tenant string) string {
	return "pricebook-" + uuid.NewSHA1(nameSpace, []byte(tenant)).String()
}
