package keys

import (
	"crypto/subtle"
	"strings"
	"time"

	"github.com/archonhq/archon/domain"
)

// ErrNotFound says that there is no such key in the tenant.
var ErrNotFound = &domain.Refusal{Kind: domain.NotFound, Code: "not_found", Message: "There is no such key."}

// Status is what has become of a key.
type Status string

// The states of a key.
const (
	StatusActive  Status = "active"
	StatusExpired Status = "expired"
	StatusRevoked Status = "revoked"
)

// Key is an API key as far as it is known: all but its secret.
type Key struct {
	ID string
	Config

	SecretHash Digest
	Hint       string
	CreatedBy  string
	// IsRevoked is for ever.
	IsRevoked bool
}

// Status is that of the key at a time. A key that was revoked stays so after it would have expired.
func (k Key) Status(now time.Time) Status {
	switch {
	case k.IsRevoked:
		return StatusRevoked
	case k.ExpiresAt != nil && !now.Before(*k.ExpiresAt):
		return StatusExpired
	}
	return StatusActive
}

// Matches tells whether a secret is the key's, in a time that does not depend on where they differ.
func (k Key) Matches(secret string) bool {
	sent := Hash(secret)
	return subtle.ConstantTimeCompare(sent[:], k.SecretHash[:]) == 1
}

// AllowsModel tells whether the key may call a model: one that is named exactly, or begins with what stands before a
// trailing *. A key that names none may call all.
func (k Key) AllowsModel(model string) bool {
	for _, allowed := range k.Models {
		prefix, isPrefix := strings.CutSuffix(allowed, "*")
		if model == allowed || (isPrefix && strings.HasPrefix(model, prefix)) {
			return true
		}
	}
	return len(k.Models) == 0
}

// Command is something a caller wants of a key: Create or Revoke.
//
//sumtype:decl
type Command interface{ command() }

// Create makes a key known by the hash of its secret.
type Create struct {
	KeyID      string
	Config     Config
	SecretHash Digest
	Hint       string
	CreatedBy  string
	// Now is when it is wanted: a key that has expired already is refused.
	Now time.Time
}

// Revoke ends a key.
type Revoke struct{}

func (Create) command() {}
func (Revoke) command() {}

// Decider is the behaviour of a key.
func Decider() domain.Decider[Key, Command] {
	return domain.Decider[Key, Command]{Decide: decide, Evolve: evolve}
}

func decide(key Key, command Command) ([]domain.To, error) {
	switch c := command.(type) {
	case Create:
		config := c.Config.normalised()
		if err := config.problem(c.Now); err != nil {
			return nil, err
		}
		return []domain.To{{Stream: Stream(c.KeyID), Event: Created{
			KeyID: c.KeyID, Config: config, SecretHash: c.SecretHash, Hint: c.Hint, CreatedBy: c.CreatedBy,
		}}}, nil
	case Revoke:
		if key.ID == "" {
			return nil, ErrNotFound
		}
		if key.IsRevoked {
			return nil, nil
		}
		return []domain.To{{Stream: Stream(key.ID), Event: Revoked{KeyID: key.ID}}}, nil
	}
	return nil, nil
}

func evolve(key Key, event domain.Event) Key {
	switch e := event.(type) {
	case Created:
		key = Key{ID: e.KeyID, Config: e.Config, SecretHash: e.SecretHash, Hint: e.Hint, CreatedBy: e.CreatedBy}
	case Revoked:
		key.IsRevoked = true
	}
	return key
}
