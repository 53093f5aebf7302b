package reactions

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/archonhq/archon/internal/secrets"
)

const (
	sweepEvery = time.Hour
	// orphanAge is how old a secret without a provider must be: a registration that is under way writes its secret first.
	orphanAge = time.Hour
	// jobsKept is how long a job that has ended stays in the list.
	jobsKept = 30 * 24 * time.Hour
	// monthsAhead is for how long from now the ledger has a partition for every month.
	monthsAhead = 12
	// sweepLock is the advisory lock that keeps two nodes from sweeping at once.
	sweepLock = 0x73_7765_6570 // "sweep"
)

// Sweeper removes what crashes leave behind, secrets of providers whose registration never came to an event, and what need
// not be kept any longer: expired commands and finished jobs. It also makes the ledger's partitions for the months to come.
type Sweeper struct {
	// Pool's sessions run as archon_worker.
	Pool    *pgxpool.Pool
	Secrets secrets.Store
	// Registered tells whether a provider has ever been registered.
	Registered func(ctx context.Context, tenant, providerID string) (bool, error)
	Now        func() time.Time
	Log        *slog.Logger
}

// Run sweeps every hour until ctx ends.
func (s *Sweeper) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(sweepEvery):
		}
		if err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.Log.WarnContext(ctx, "a sweep failed and will be tried again", slog.Any("error", err))
		}
	}
}

// Sweep sweeps once, unless another node is at it.
func (s *Sweeper) Sweep(ctx context.Context) error {
	prepared := s.prepareMonths(ctx)
	err := pgx.BeginFunc(ctx, s.Pool, func(tx pgx.Tx) error {
		var mine bool
		if err := tx.QueryRow(ctx, `select pg_try_advisory_xact_lock($1)`, int64(sweepLock)).Scan(&mine); err != nil || !mine {
			return err //nolint:wrapcheck // wrapped below
		}
		if _, err := tx.Exec(ctx, `delete from commands where expires_at < now()`); err != nil {
			return fmt.Errorf("forget expired commands: %w", err)
		}
		if _, err := tx.Exec(ctx, `delete from jobs where status in ('done', 'discarded') and finished_at < now() - make_interval(secs => $1)`, jobsKept.Seconds()); err != nil {
			return fmt.Errorf("forget finished jobs: %w", err)
		}
		return s.sweepSecrets(ctx)
	})
	if err := errors.Join(prepared, err); err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	return nil
}

// prepareMonths makes the ledger's partitions for the months to come, in a transaction of its own, for it locks the ledger
// while it makes one. It gives up soon where somebody uses the ledger for long, since everybody else would wait behind it;
// the next sweep tries again, with months to spare.
func (s *Sweeper) prepareMonths(ctx context.Context) error {
	const format = "2006-01-02"
	now := s.Now().UTC()
	err := pgx.BeginFunc(ctx, s.Pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `set local lock_timeout = '2s'`); err != nil {
			return err //nolint:wrapcheck // wrapped below
		}
		_, err := tx.Exec(ctx, `select ledger_months($1, $2)`, now.Format(format), now.AddDate(0, monthsAhead, 0).Format(format))
		return err //nolint:wrapcheck // wrapped below
	})
	if err != nil {
		return fmt.Errorf("make the ledger's partitions: %w", err)
	}
	return nil
}

func (s *Sweeper) sweepSecrets(ctx context.Context) error {
	tenants, err := s.Secrets.List(ctx, "tenants")
	if err != nil {
		return fmt.Errorf("list tenants with secrets: %w", err)
	}
	for _, name := range tenants {
		tenant, isFolder := strings.CutSuffix(name, "/")
		if !isFolder {
			continue
		}
		ids, err := s.Secrets.List(ctx, "tenants/"+tenant+"/providers")
		if err != nil {
			return fmt.Errorf("list a tenant's secrets: %w", err)
		}
		for _, id := range ids {
			if err := s.sweepSecret(ctx, tenant, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// sweepSecret removes a secret that no provider was ever registered for. Its age is that of the provider id, a UUIDv7.
func (s *Sweeper) sweepSecret(ctx context.Context, tenant, name string) error {
	const timed = 7
	id, err := uuid.Parse(name)
	if err != nil || id.Version() != timed {
		return nil //nolint:nilerr // not one of ours
	}
	seconds, nanos := id.Time().UnixTime()
	if s.Now().Sub(time.Unix(seconds, nanos)) < orphanAge {
		return nil
	}
	registered, err := s.Registered(ctx, tenant, name)
	if err != nil || registered {
		return err
	}
	if err := s.Secrets.Destroy(ctx, secrets.ProviderPath(tenant, name)); err != nil {
		return fmt.Errorf("destroy an orphaned secret: %w", err)
	}
	s.Log.InfoContext(ctx, "an orphaned secret was destroyed", slog.String("tenant", tenant), slog.String("provider", name))
	return nil
}
