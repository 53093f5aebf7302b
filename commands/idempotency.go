package commands

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"

	"github.com/google/uuid"
)

// commandSpace is the UUID namespace in which idempotency keys become command ids. It must not change within the 24 hours
// for which commands are remembered.
var commandSpace = uuid.MustParse("3d5c7a10-9e0b-5c1f-8a3e-6b7f4f0f2d11")

// Repeats recognises commands that come again under an Idempotency-Key.
type Repeats struct {
	Log Log
	// Key is the deployment's HMAC key for fingerprints of bodies, which may hold secrets.
	Key []byte

	mu       sync.Mutex
	underway map[uuid.UUID]chan struct{}
}

// begin names the command of a request and looks whether it has been answered. Twins on this node wait for the first one;
// twins on other nodes are told apart by the log, which takes a command id once. done must be called when the request has
// been answered. It fails with ErrKeyReused where the key came with another body before.
func (r *Repeats) begin(ctx context.Context, tenant, actor, method, path, key string, body []byte) (named *Idempotency, answered *outcome, done func(), err error) {
	named = &Idempotency{
		CommandID:   uuid.NewSHA1(commandSpace, []byte(strings.Join([]string{tenant, actor, method, path, key}, "\x00"))),
		Fingerprint: r.fingerprint(body),
	}
	if done, err = r.enter(ctx, named.CommandID); err != nil {
		return nil, nil, nil, err
	}
	remembered, found, err := r.Log.Recall(ctx, tenant, named.CommandID)
	if err != nil || !found {
		return named, nil, done, err //nolint:wrapcheck // the store's errors are part of the API
	}
	earlier, err := again(named, remembered.Last, remembered.Fingerprint, remembered.Answer)
	if err != nil {
		return named, nil, done, err
	}
	return named, &earlier, done, nil
}

func (r *Repeats) fingerprint(body []byte) []byte {
	mac := hmac.New(sha256.New, r.Key)
	mac.Write(body)
	return mac.Sum(nil)
}

func (r *Repeats) enter(ctx context.Context, id uuid.UUID) (func(), error) {
	for {
		r.mu.Lock()
		first, busy := r.underway[id]
		if !busy {
			mine := make(chan struct{})
			if r.underway == nil {
				r.underway = map[uuid.UUID]chan struct{}{}
			}
			r.underway[id] = mine
			r.mu.Unlock()
			return sync.OnceFunc(func() {
				r.mu.Lock()
				delete(r.underway, id)
				r.mu.Unlock()
				close(mine)
			}), nil
		}
		r.mu.Unlock()
		select {
		case <-first:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the same command: %w", context.Cause(ctx))
		}
	}
}
