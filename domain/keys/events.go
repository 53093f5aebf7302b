package keys

import (
	"github.com/archonhq/archon/domain"
)

// Created says that a key is known from now on. Of its secret there is the hash, from which it can't be found.
type Created struct {
	KeyID string `json:"key_id"`
	Config
	SecretHash Digest `json:"secret_hash"`
	// Hint is the end of the secret.
	Hint string `json:"hint"`
	// CreatedBy is the id of the actor, which is opaque.
	CreatedBy string `json:"created_by"`
}

// Revoked says that the key opens nothing any more.
type Revoked struct {
	KeyID string `json:"key_id"`
}

// EventType implements domain.Event.
func (Created) EventType() string { return "key.created.v1" }

// EventType implements domain.Event.
func (Revoked) EventType() string { return "key.revoked.v1" }

// Events lists every event of this context by its zero value.
func Events() []domain.Event { return []domain.Event{Created{}, Revoked{}} }

// Stream is the stream of a key.
func Stream(id string) string { return "key-" + id }
