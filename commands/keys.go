package commands

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/keys"
)

// keyTables are the projections that show what happened to a key.
var keyTables = []string{"keys", "audit_index"} //nolint:gochecknoglobals // a constant list

// Keys holds the use cases of API keys.
type Keys struct {
	Handler *Handler
	Reads   ReadYourWrites
}

type keyTask = task[keys.Key, keys.Command]

// createdKey is a key with its secret, in the answer that shows it; null in a repeated one.
type createdKey struct {
	api.Key

	Token *string `json:"key"`
}

// CreateKey implements api.StrictServerInterface.
func (k *Keys) CreateKey(ctx context.Context, request api.CreateKeyRequestObject) (api.CreateKeyResponseObject, error) {
	sent := request.Body
	budget, err := nanoUSD("budget_usd", sent.BudgetUsd)
	if err != nil {
		return nil, err
	}
	caller := callerOf(ctx)
	done, err := k.create(ctx, caller, keys.Config{
		Name: sent.Name, DepartmentID: sent.DepartmentID, Models: sent.Models,
		RateLimitRPM: sent.RateLimitRPM, BudgetNanoUSD: budget, ExpiresAt: sent.ExpiresAt,
	})
	return finish(ctx, k.Handler, k.Reads, caller, done, err, keyTables...)
}

// RevokeKey implements api.StrictServerInterface.
func (k *Keys) RevokeKey(ctx context.Context, request api.RevokeKeyRequestObject) (api.RevokeKeyResponseObject, error) {
	id, err := uuid.Parse(request.ID)
	if err != nil {
		return nil, keys.ErrNotFound
	}
	caller := callerOf(ctx)
	done, err := handle(ctx, k.Handler, caller, keyTask{
		decider: keys.Decider(),
		command: keys.Revoke{},
		streams: []string{keys.Stream(id.String())},
		answer:  func(keys.Key, int64, time.Time) response { return response{status: http.StatusNoContent} },
	})
	return finish(ctx, k.Handler, k.Reads, caller, done, err, keyTables...)
}

// create makes a key with a secret that nobody has seen. The secret is in the first answer and nowhere else: what is
// remembered under an Idempotency-Key has null in its place.
func (k *Keys) create(ctx context.Context, caller Caller, config keys.Config) (outcome, error) {
	id, err := newID()
	if err != nil {
		return outcome{}, err
	}
	var random [keys.SecretBytes]byte
	if _, err := rand.Read(random[:]); err != nil {
		return outcome{}, fmt.Errorf("make a key's secret: %w", err)
	}
	secret := keys.Secret(random)
	token := keys.Token(caller.Tenant, id, secret)
	return handle(ctx, k.Handler, caller, keyTask{
		decider: keys.Decider(),
		command: keys.Create{
			KeyID: id, Config: config, SecretHash: keys.Hash(secret), Hint: keys.Hint(secret),
			CreatedBy: caller.Actor.ID, Now: k.Handler.Now(),
		},
		streams: []string{keys.Stream(id)},
		answer: func(key keys.Key, version int64, at time.Time) response {
			shown := keyView(key, version, at)
			return response{
				status: http.StatusCreated, version: version, location: "/api/v1/keys/" + key.ID,
				data: createdKey{Key: shown}, once: createdKey{Key: shown, Token: &token},
			}
		},
	})
}

// keyView is a key as the API shows it right after its creation.
func keyView(key keys.Key, version int64, at time.Time) api.Key {
	shown := api.Key{
		ID: key.ID, Name: key.Name, DepartmentID: key.DepartmentID, Models: key.Models, RateLimitRPM: key.RateLimitRPM,
		ExpiresAt: key.ExpiresAt, Status: api.KeyStatus(key.Status(at)), Hint: key.Hint, CreatedBy: key.CreatedBy, CreatedAt: at, Version: version,
	}
	if key.BudgetNanoUSD != nil {
		budget := (domain.Amount(*key.BudgetNanoUSD) * domain.NanoUSD).Number()
		shown.BudgetUsd = &budget
	}
	return shown
}

// nanoUSD reads an amount of dollars that a client sent in a field, or refuses it; nil stays nil.
func nanoUSD(field string, sent *json.Number) (*int64, error) {
	amount, reason := moneyOf(sent)
	if reason != "" {
		return nil, invalidMoney(map[string]any{field: reason})
	}
	if amount == nil {
		return nil, nil //nolint:nilnil // nothing was sent
	}
	nano := int64(*amount / domain.NanoUSD)
	return &nano, nil
}
