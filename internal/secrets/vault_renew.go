package secrets

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"github.com/hashicorp/vault/api"
)

const (
	// minKeepPause keeps a token in its last moments from being looked up in a loop.
	minKeepPause = 200 * time.Millisecond
	// maxKeepPause is the longest pause between lookups of a configured token that Vault does not answer for.
	maxKeepPause = time.Minute
)

// keep renews the token until ctx ends, and logs in again where it cannot be renewed any more.
func (s *session) keep(ctx context.Context) {
	if s.login == nil {
		s.keepToken(ctx)

		return
	}

	for ctx.Err() == nil {
		held, err := s.current(ctx)
		if err != nil {
			s.pauseLogin(ctx)

			continue
		}

		s.renew(ctx, held)

		// The old token stays in use until there is another: it has a little time left.
		for ctx.Err() == nil && s.peek().number == held.number {
			if _, err := s.after(ctx, held.number); err != nil {
				s.pauseLogin(ctx)
			}
		}
	}
}

// pauseLogin waits until another login may be tried, or somebody else's has worked.
func (s *session) pauseLogin(ctx context.Context) {
	s.mu.Lock()
	wait, replaced := max(time.Until(s.retryAt), firstLoginPause), s.replaced
	s.mu.Unlock()

	pause(ctx, wait, replaced)
}

// renew returns when the lease is near its end and cannot be made longer, when it was replaced, or when ctx ends.
func (s *session) renew(ctx context.Context, held lease) {
	s.mu.Lock()
	replaced, current := s.replaced, s.held.number
	s.mu.Unlock()

	if current != held.number {
		return
	}

	if held.secret.Auth.LeaseDuration <= 0 { // a token without end
		select {
		case <-ctx.Done():
		case <-replaced:
		}

		return
	}

	s.watch(ctx, held.client, held.secret, replaced)
}

// watch runs Vault's own lifetime watcher, which renews at two thirds of a lease, until it gives up.
func (s *session) watch(ctx context.Context, client *api.Client, secret *api.Secret, replaced <-chan struct{}) {
	watcher, err := client.NewLifetimeWatcher(&api.LifetimeWatcherInput{Secret: secret})
	if err != nil {
		s.cfg.Logger.ErrorContext(ctx, "vault token cannot be renewed", slog.Any("error", err))
		pause(ctx, maxKeepPause, replaced)

		return
	}

	ended := make(chan struct{})

	go func() {
		defer close(ended)
		watcher.Start()
	}()

	defer func() {
		watcher.Stop()
		<-ended
	}()

	for {
		select {
		case <-ctx.Done():
			return
		case <-replaced:
			return
		case <-ended:
			return
		case renewal := <-watcher.RenewCh():
			s.cfg.Logger.DebugContext(ctx, "vault token renewed",
				slog.Int("lease_seconds", renewal.Secret.Auth.LeaseDuration))
		}
	}
}

// keepToken renews a configured token: it asks for its lease first, which a login would have told.
func (s *session) keepToken(ctx context.Context) {
	client := s.peek().client

	for failures := 0; ctx.Err() == nil; {
		secret, endless, err := lookUpToken(ctx, client)

		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if failures == 0 {
				s.cfg.Logger.WarnContext(ctx, "vault token could not be looked up; trying again in the background",
					slog.Any("error", vaultFault(ctx, err, s.cfg.Timeout)))
			}

			pause(ctx, pauseAfter(failures, lookupPause(err)), nil)
			failures++
		case endless:
			<-ctx.Done()

			return
		default:
			failures = 0

			if !secret.Auth.Renewable {
				s.cfg.Logger.WarnContext(ctx, "vault token cannot be renewed and will end",
					slog.Int("lease_seconds", secret.Auth.LeaseDuration))
			}

			s.watch(ctx, client, secret, nil)
			pause(ctx, minKeepPause, nil)
		}
	}
}

func lookupPause(err error) time.Duration {
	if isStatus(err, http.StatusForbidden) {
		return maxKeepPause
	}

	return awayLoginPause
}

// lookUpToken returns what a login that gave this token would return, and whether the token never ends. Its time to
// live does not tell that: it is 0 in the last second of a token that does.
func lookUpToken(ctx context.Context, client *api.Client) (secret *api.Secret, endless bool, err error) {
	answer, err := client.Auth().Token().LookupSelfWithContext(ctx)
	if err != nil {
		return nil, false, err
	}

	if answer == nil {
		return nil, false, errNotUnderstood
	}

	ttl, isNumber := answer.Data["ttl"].(json.Number)
	if !isNumber {
		return nil, false, errNotUnderstood
	}

	seconds, _ := ttl.Int64()
	renewable, _ := answer.Data["renewable"].(bool)

	return &api.Secret{Auth: &api.SecretAuth{
		ClientToken: client.Token(), LeaseDuration: int(seconds), Renewable: renewable,
	}}, answer.Data["expire_time"] == nil, nil
}

// pause waits, unless ctx ends or wake is closed first. A nil wake is never closed.
func pause(ctx context.Context, wait time.Duration, wake <-chan struct{}) {
	timer := time.NewTimer(wait)
	defer timer.Stop()

	select {
	case <-ctx.Done():
	case <-wake:
	case <-timer.C:
	}
}
