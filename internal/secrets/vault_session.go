package secrets

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/api/auth/approle"
	"golang.org/x/sync/singleflight"
)

const (
	// Pauses between failed logins double from the first to a cap: short where Vault is away, so that it is used soon
	// after it is back, and long where it refused, so that it does not lock the role out.
	firstLoginPause   = 100 * time.Millisecond
	awayLoginPause    = 5 * time.Second
	refusedLoginPause = time.Minute
	// minTokenAge is how old a token must be before a 403 makes it suspect. It bounds the logins that a policy which
	// denies both a path and the lookup of the own token could cause.
	minTokenAge = time.Second
)

var errTokenEnded = fmt.Errorf("%w: the vault token has ended or was revoked", ErrDenied)

// lease is one token, and the client that sends it.
type lease struct {
	// number counts the logins; a request that fails with lease n asks for one after n.
	number   uint64
	client   *api.Client
	obtained time.Time
	// secret is the answer to the login, which the renewal starts from; nil for a configured token.
	secret *api.Secret
}

// session holds the token of a [Vault] store. Logins happen one at a time, on behalf of the first who needs one.
type session struct {
	cfg         VaultConfig
	connections *http.Client
	login       *approle.AppRoleAuth // nil with a configured token
	anonymous   *api.Client
	logins      singleflight.Group

	mu       sync.Mutex
	held     lease // number 0: none yet
	replaced chan struct{}
	// failure is why the last login failed, and is the answer to all who want one before retryAt.
	failure  error
	failures int
	retryAt  time.Time

	cancel context.CancelFunc
	done   chan struct{}
}

func startSession(ctx context.Context, cfg VaultConfig, connections *http.Client) (*session, error) {
	anonymous, err := newAPIClient(cfg, connections, cfg.Namespace, "")
	if err != nil {
		return nil, err
	}

	s := &session{
		cfg: cfg, connections: connections, anonymous: anonymous,
		replaced: make(chan struct{}), done: make(chan struct{}),
	}

	ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))

	if cfg.Token != "" {
		err = s.useToken()
	} else {
		s.login, err = approle.NewAppRoleAuth(cfg.RoleID, &approle.SecretID{FromString: cfg.SecretID},
			approle.WithMountPath(cfg.AppRoleMount))
	}

	if err != nil {
		s.cancel()

		return nil, fmt.Errorf("prepare vault login: %w", err)
	}

	go func() {
		defer close(s.done)
		s.keep(ctx)
	}()

	return s, nil
}

func (s *session) useToken() error {
	client, err := newAPIClient(s.cfg, s.connections, s.cfg.Namespace, s.cfg.Token)
	if err != nil {
		return err
	}

	s.held = lease{number: 1, client: client, obtained: time.Now()}

	return nil
}

func (s *session) stop() {
	s.cancel()
	<-s.done
}

// current returns the token in use, and logs in where there is none yet.
func (s *session) current(ctx context.Context) (lease, error) {
	if held := s.peek(); held.number > 0 {
		return held, nil
	}

	return s.after(ctx, 0)
}

func (s *session) peek() lease {
	s.mu.Lock()
	defer s.mu.Unlock()

	return s.held
}

// after returns a token that came after lease number old, and logs in if there is none yet.
func (s *session) after(ctx context.Context, old uint64) (lease, error) {
	for {
		flight := s.logins.DoChan("", func() (any, error) {
			// Whoever came first may go away; the others still want the token.
			loginCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Timeout)
			defer cancel()

			return s.logIn(loginCtx, old)
		})

		select {
		case <-ctx.Done():
			return lease{}, ctx.Err()
		case result := <-flight:
			if result.Err != nil {
				return lease{}, result.Err
			}

			// A flight that had begun for an older lease may bring just the one that has ended.
			if fresh, ok := result.Val.(lease); ok && fresh.number > old {
				return fresh, nil
			}
		}
	}
}

// logIn runs one at a time.
func (s *session) logIn(ctx context.Context, old uint64) (lease, error) {
	s.mu.Lock()
	held, failure, wait := s.held, s.failure, time.Until(s.retryAt)
	s.mu.Unlock()

	switch {
	case held.number > old:
		return held, nil
	case s.login == nil:
		return lease{}, errTokenEnded
	case failure != nil && wait > 0:
		return lease{}, failure
	}

	fresh, err := s.logInWithAppRole(ctx)
	if err != nil {
		return lease{}, s.failed(ctx, err)
	}

	fresh.number = held.number + 1
	s.succeeded(fresh)

	return fresh, nil
}

func (s *session) logInWithAppRole(ctx context.Context) (lease, error) {
	secret, err := s.login.Login(ctx, s.anonymous)
	if err != nil {
		// Running out of time is a fact about Vault here, and not about whoever waits for the login.
		return lease{}, vaultFault(context.WithoutCancel(ctx), err, s.cfg.Timeout)
	}

	if secret == nil || secret.Auth == nil || secret.Auth.ClientToken == "" {
		return lease{}, fmt.Errorf("%w: vault's login gave no token", ErrUnavailable)
	}

	client, err := newAPIClient(s.cfg, s.connections, s.cfg.Namespace, secret.Auth.ClientToken)
	if err != nil {
		return lease{}, err
	}

	return lease{client: client, obtained: time.Now(), secret: secret}, nil
}

func (s *session) succeeded(fresh lease) {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.held, s.failure, s.failures = fresh, nil, 0
	close(s.replaced)
	s.replaced = make(chan struct{})
}

// failed remembers a failure until the pause after it is over, logs the first of a row, and returns it.
func (s *session) failed(ctx context.Context, err error) error {
	err = fmt.Errorf("log in to vault: %w", err)

	longest := awayLoginPause
	if errors.Is(err, ErrDenied) {
		longest = refusedLoginPause
	}

	s.mu.Lock()
	defer s.mu.Unlock()

	if s.failures == 0 {
		s.cfg.Logger.WarnContext(ctx, "vault login failed; trying again in the background", slog.Any("error", err))
	}

	s.failure, s.retryAt = err, time.Now().Add(pauseAfter(s.failures, longest))
	s.failures++

	return err
}

func pauseAfter(failures int, longest time.Duration) time.Duration {
	pause := firstLoginPause
	for range failures {
		if pause *= 2; pause >= longest {
			return longest
		}
	}

	return pause
}

// afterDenial finds out whether a 403 was about the token, by asking Vault about the token itself, and then gets
// another one. It returns false where the 403 was meant: the policy does not allow the request.
func (s *session) afterDenial(ctx context.Context, denied lease) (lease, bool) {
	if held := s.peek(); held.number > denied.number {
		return held, true
	}

	if s.login == nil || time.Since(denied.obtained) < minTokenAge {
		return lease{}, false
	}

	_, err := denied.client.Auth().Token().LookupSelfWithContext(ctx)
	if !isStatus(err, http.StatusForbidden) {
		return lease{}, false
	}

	fresh, err := s.after(ctx, denied.number)

	return fresh, err == nil
}
