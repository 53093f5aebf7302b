package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"
)

const (
	// fetchTimeout bounds one reading of the discovery document and the keys.
	fetchTimeout = 5 * time.Second
	// refreshAfter is the age at which keys are read again in the background, so that a removed one stops counting.
	refreshAfter = 5 * time.Minute
	// keysLifetime is how long keys count while the issuer is away: an outage is bridged, a key that was withdrawn
	// because it leaked is not accepted for ever.
	keysLifetime = 24 * time.Hour

	// refetchEvery and refetchBurst bound what tokens with made-up key ids or wrong signatures can cost the issuer. A new
	// key is known after refetchEvery at the latest, even in a flood of them.
	refetchEvery = 10 * time.Second
	refetchBurst = 3

	// minBackoff and maxBackoff bound the pause after a reading that failed; it doubles each time.
	minBackoff = 500 * time.Millisecond
	maxBackoff = 15 * time.Second
)

// remoteKeys reads and keeps the keys of a remote issuer. go-oidc's RemoteKeySet is not enough: it reads the keys anew
// for every token with a wrong signature, and keeps a removed key until an unknown id comes along.
type remoteKeys struct {
	issuer string
	client *http.Client
	now    func() time.Time
	log    *slog.Logger

	// flight lets any number of callers share one reading, which none of them can cancel for the others.
	flight  singleflight.Group
	refetch *rate.Limiter
	// loaded is nil until keys were read for the first time.
	loaded atomic.Pointer[ring]

	mu sync.Mutex
	// failure is the outcome of the last reading; its err is nil after a good one.
	failure failure
}

type failure struct {
	err     error
	backoff time.Duration
	retryAt time.Time
}

var _ keySource = (*remoteKeys)(nil)

func newRemoteKeys(cfg Config, httpsOnly bool, now func() time.Time) *remoteKeys {
	return &remoteKeys{
		issuer:  cfg.Issuer,
		client:  boundedClient(cfg.HTTPClient, httpsOnly),
		now:     now,
		log:     cmp.Or(cfg.Log, slog.Default()),
		refetch: rate.NewLimiter(rate.Every(refetchEvery), refetchBurst),
	}
}

func (r *remoteKeys) current(ctx context.Context) (*ring, error) {
	keys := r.fresh()
	if keys == nil {
		return r.renewed(ctx)
	}

	if r.isDue(keys) {
		r.refreshInBackground(ctx)
	}

	return keys, nil
}

// fresh returns the keys that may be used now, or nil.
func (r *remoteKeys) fresh() *ring {
	keys := r.loaded.Load()
	if keys == nil || r.now().Sub(keys.loadedAt) > keysLifetime {
		return nil
	}

	return keys
}

// isDue says whether the keys should, and may, be read again.
func (r *remoteKeys) isDue(keys *ring) bool {
	r.mu.Lock()
	defer r.mu.Unlock()

	now := r.now()
	if r.failure.err != nil {
		return !now.Before(r.failure.retryAt)
	}

	return now.Sub(keys.loadedAt) > refreshAfter
}

func (r *remoteKeys) renewed(ctx context.Context) (*ring, error) {
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the token issuer's keys: %w", context.Cause(ctx))
	case result := <-r.refreshInBackground(ctx):
		if result.Err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, result.Err)
		}
	}

	return r.loaded.Load(), nil
}

// refreshInBackground starts a reading, or joins the one that is under way; its outcome may be left unheard.
func (r *remoteKeys) refreshInBackground(ctx context.Context) <-chan singleflight.Result {
	return r.flight.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		defer cancel()

		return nil, r.refresh(ctx)
	})
}

// refresh reads the keys, unless it is too soon: then the outcome of the last reading stands.
func (r *remoteKeys) refresh(ctx context.Context) error {
	if wait, err := r.tooSoon(); wait {
		return err
	}

	keys, err := r.read(ctx)
	if err != nil {
		r.failed(ctx, err)

		return err
	}

	r.loaded.Store(keys)
	r.succeeded(ctx)

	return nil
}

// tooSoon paces readings: by backoff after a failure, by the limiter after a success.
func (r *remoteKeys) tooSoon() (wait bool, lastErr error) {
	r.mu.Lock()
	defer r.mu.Unlock()

	now := r.now()
	if r.failure.err != nil {
		return now.Before(r.failure.retryAt), r.failure.err
	}

	return r.fresh() != nil && !r.refetch.AllowN(now, 1), nil
}

func (r *remoteKeys) failed(ctx context.Context, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()

	backoff := min(max(r.failure.backoff*2, minBackoff), maxBackoff)
	r.failure = failure{err: err, backoff: backoff, retryAt: r.now().Add(backoff)}

	r.log.WarnContext(ctx, "token issuer unavailable", "issuer", r.issuer, "error", err, "retry_in", backoff)
}

func (r *remoteKeys) succeeded(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()

	if r.failure.err != nil {
		r.log.InfoContext(ctx, "token issuer available again", "issuer", r.issuer)
	}

	r.failure = failure{}
}

func (r *remoteKeys) check(ctx context.Context) error {
	if _, err := r.current(ctx); err != nil {
		return err
	}

	r.mu.Lock()
	defer r.mu.Unlock()

	if r.failure.err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, r.failure.err)
	}

	return nil
}

// errNoKeys is a discovery document or key set that nothing can be verified with.
var errNoKeys = errors.New("the issuer offers no signing key and algorithm that Archon accepts")
