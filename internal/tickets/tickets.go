// Package tickets lets a browser open a socket without its token: a ticket stands for the caller, for half a minute, once.
//
// A ticket is the caller itself, sealed under a key that all nodes of a deployment have, so none of it is kept anywhere
// and any node can take it. That it counts once is kept in Redis. While Redis is away each node keeps that by itself; then
// a ticket that somebody has read along could be used once more on another node, within its half minute.
package tickets

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/archonhq/archon/internal/auth"
	"github.com/archonhq/archon/internal/cache"
)

// TTL is how long a ticket counts.
const TTL = 30 * time.Second

const (
	version    = "v1."
	keyInfo    = "archon.ws-ticket.v1"
	keyBytes   = 32
	idBytes    = 16
	redisKey   = "archon:ticket:"
	askTimeout = time.Second
	// maxBytes bounds what is looked at: a user's id and name have 255 bytes each.
	maxBytes = 4 << 10
	// maxKept bounds how many used tickets a node remembers by itself; past it none is taken until some have expired.
	maxKept = 100_000
)

// ErrInvalid says that a ticket is none of ours, has expired or was used. The caller needs a new one.
var ErrInvalid = errors.New("the ticket is not valid: it is malformed, has expired or was used before")

// Tickets makes and takes tickets. It is safe for concurrent use.
type Tickets struct {
	seal   cipher.AEAD
	client *redis.Client
	outage *cache.Outage
	now    func() time.Time

	mu   sync.Mutex
	used map[string]time.Time
}

// New makes Tickets under a secret of the deployment, from which their key is derived. A nil log discards, a nil now is
// the system's clock.
func New(secret []byte, client *redis.Client, log *slog.Logger, now func() time.Time) (*Tickets, error) {
	key, err := hkdf.Key(sha256.New, secret, nil, keyInfo, keyBytes)
	if err != nil {
		return nil, fmt.Errorf("derive the key of tickets: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("derive the key of tickets: %w", err)
	}
	seal, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("derive the key of tickets: %w", err)
	}
	if now == nil {
		now = time.Now
	}
	return &Tickets{
		seal: seal, client: client, outage: &cache.Outage{What: "socket tickets", Log: log}, now: now, used: map[string]time.Time{},
	}, nil
}

// content is what is sealed.
type content struct {
	ID             []byte      `json:"id"`
	ExpiresAt      time.Time   `json:"exp"`
	Tenant         string      `json:"tenant"`
	UserID         string      `json:"user"`
	Name           string      `json:"name,omitempty"`
	Roles          []auth.Role `json:"roles"`
	TokenExpiresAt time.Time   `json:"token_exp"`
}

// Issue makes a ticket for a caller; it expires no later than the caller's token.
func (t *Tickets) Issue(caller auth.Principal) (ticket string, expiresAt time.Time, err error) {
	id := make([]byte, idBytes)
	_, _ = rand.Read(id) // never fails: the program would have ended
	expiresAt = t.now().Add(TTL).UTC().Truncate(time.Second)
	if caller.ExpiresAt.Before(expiresAt) {
		expiresAt = caller.ExpiresAt.UTC()
	}
	plain, err := json.Marshal(content{
		ID: id, ExpiresAt: expiresAt, Tenant: caller.Tenant, UserID: caller.UserID, Name: caller.Name, Roles: caller.Roles, TokenExpiresAt: caller.ExpiresAt,
	})
	if err != nil {
		return "", time.Time{}, fmt.Errorf("make a ticket: %w", err)
	}
	return version + base64.RawURLEncoding.EncodeToString(t.seal.Seal(nil, nil, plain, nil)), expiresAt, nil //nolint:gosec // this AEAD draws its nonces itself
}

// Redeem takes a ticket and returns the caller that it stands for. It fails with ErrInvalid.
func (t *Tickets) Redeem(ctx context.Context, ticket string) (auth.Principal, error) {
	encoded, ours := strings.CutPrefix(ticket, version)
	if !ours || len(ticket) > maxBytes || strings.ContainsAny(encoded, "\r\n") { // line breaks, which the decoder skips
		return auth.Principal{}, ErrInvalid
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return auth.Principal{}, ErrInvalid
	}
	plain, err := t.seal.Open(nil, nil, sealed, nil)
	if err != nil {
		return auth.Principal{}, ErrInvalid
	}
	var found content
	if err := json.Unmarshal(plain, &found); err != nil {
		return auth.Principal{}, ErrInvalid
	}
	if now := t.now(); !now.Before(found.ExpiresAt) || !t.first(ctx, string(found.ID), now, found.ExpiresAt) {
		return auth.Principal{}, ErrInvalid
	}
	return auth.Principal{
		Tenant: found.Tenant, UserID: found.UserID, Name: found.Name, Roles: found.Roles, ExpiresAt: found.TokenExpiresAt,
	}, nil
}

// first tells whether a ticket is used for the first time, and marks it as used. Both this node and Redis have to agree,
// so that one which was used while Redis was away is not taken again when it is back.
func (t *Tickets) first(ctx context.Context, id string, now, expiresAt time.Time) bool {
	if !t.firstHere(id, now, expiresAt) {
		return false
	}
	if !t.outage.Try() {
		return true
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
	defer cancel()
	key := redisKey + base64.RawURLEncoding.EncodeToString([]byte(id))
	isFirst, err := t.client.SetNX(ctx, key, "", expiresAt.Sub(now)+time.Second).Result()
	if err != nil {
		t.outage.Failed(ctx, err)
		return true
	}
	t.outage.Worked(ctx)
	return isFirst
}

func (t *Tickets) firstHere(id string, now, expiresAt time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, isUsed := t.used[id]; isUsed {
		return false
	}
	if len(t.used) >= maxKept/2 {
		for other, until := range t.used {
			if !now.Before(until) {
				delete(t.used, other)
			}
		}
	}
	if len(t.used) >= maxKept {
		return false
	}
	t.used[id] = expiresAt
	return true
}
