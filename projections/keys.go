package projections

import (
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	"github.com/archonhq/archon/domain/keys"
)

// KeysName is the name of the projection of API keys.
const KeysName = "keys"

// Keys builds api_keys. Keys come and go with people, not with calls, so that a statement an event is quick enough.
type Keys struct{}

var _ Rebuildable = Keys{}

// Name implements Projector.
func (Keys) Name() string { return KeysName }

// Version implements Projector.
func (Keys) Version() int { return 1 }

// Tables implements Rebuildable.
func (Keys) Tables() []string {
	return []string{"api_keys"}
}

// Handles implements Projector.
func (Keys) Handles() []string {
	return []string{keys.Created{}.EventType(), keys.Revoked{}.EventType()}
}

// Project implements Projector.
func (Keys) Project(events []Event, out *Statements) error {
	for i := range events {
		event := &events[i]
		var err error
		switch payload := event.Payload.(type) {
		case keys.Created:
			err = createKey(event, payload, out)
		case keys.Revoked:
			err = revokeKey(event, payload, out)
		}
		if err != nil {
			return fmt.Errorf("project position %d: %w", event.Position, err)
		}
	}
	return nil
}

func createKey(event *Event, created keys.Created, out *Statements) error {
	id, err := uuid.Parse(created.KeyID)
	if err != nil {
		return fmt.Errorf("key id: %w", err)
	}
	models, err := json.Marshal(list(created.Models))
	if err != nil {
		return fmt.Errorf("encode a key's models: %w", err)
	}
	out.Exec(`insert into api_keys (tenant_id, id, name, department_id, models, rate_limit_rpm, budget_nano_usd, expires_at,
			secret_hash, hint, created_by, version, created_at)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
		event.Tenant, id, created.Name, created.DepartmentID, string(models), created.RateLimitRPM, created.BudgetNanoUSD,
		created.ExpiresAt, created.SecretHash[:], created.Hint, created.CreatedBy, event.Version, event.Time())
	return nil
}

func revokeKey(event *Event, revoked keys.Revoked, out *Statements) error {
	id, err := uuid.Parse(revoked.KeyID)
	if err != nil {
		return fmt.Errorf("key id: %w", err)
	}
	out.Exec(`update api_keys set revoked_at = $3, version = $4 where tenant_id = $1 and id = $2`, event.Tenant, id, event.Time(), event.Version)
	return nil
}
