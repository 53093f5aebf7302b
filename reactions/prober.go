package reactions

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"
)

const (
	defaultProbeInterval = time.Minute
	// probesAtOnce bounds the probes that one node has under way.
	probesAtOnce = 8
	// longestLook is how long the prober waits at most before it looks for due providers again.
	longestLook = 5 * time.Second
	// jitterShare spreads probes by up to this part of the interval, so that providers registered together are not
	// probed together for ever.
	jitterShare = 0.2
)

// Prober tests the providers that nobody has called for a while. Nodes share the work by claiming rows of
// provider_probes, so each provider is probed by one node at a time.
type Prober struct {
	// Pool's sessions run as archon_worker.
	Pool *pgxpool.Pool
	// Probe tests one provider and records the result.
	Probe func(ctx context.Context, tenant, providerID string) error
	// Interval is how often an idle provider is probed; 0 means a minute.
	Interval time.Duration
	Log      *slog.Logger
}

type dueProvider struct {
	TenantID   string
	ProviderID uuid.UUID
}

// Run probes until ctx ends. A probe that is under way then is cut short and not recorded.
func (p *Prober) Run(ctx context.Context) error {
	interval := cmp.Or(p.Interval, defaultProbeInterval)
	for {
		due, err := p.claim(ctx, interval)
		if err != nil && ctx.Err() == nil {
			p.Log.WarnContext(ctx, "can't look for providers to probe", slog.Any("error", err))
		}
		p.probeAll(ctx, due)
		if len(due) == probesAtOnce {
			continue // there may be more
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(min(interval, longestLook)):
		}
	}
}

// claim takes some due providers and sets when they are due next, so that no other node takes them now, nor after a crash
// of this one before the interval is over.
func (p *Prober) claim(ctx context.Context, interval time.Duration) ([]dueProvider, error) {
	rows, err := p.Pool.Query(ctx, `update provider_probes p set due_at = now() + make_interval(secs => $2 * (1 + $3 * (2 * random() - 1)))
		from (select tenant_id, provider_id from provider_probes where due_at <= now() order by due_at limit $1 for update skip locked) d
		where p.tenant_id = d.tenant_id and p.provider_id = d.provider_id returning p.tenant_id, p.provider_id`, probesAtOnce, interval.Seconds(), jitterShare)
	if err != nil {
		return nil, fmt.Errorf("claim due providers: %w", err)
	}
	due, err := pgx.CollectRows(rows, pgx.RowToStructByName[dueProvider])
	if err != nil {
		return nil, fmt.Errorf("claim due providers: %w", err)
	}
	return due, nil
}

func (p *Prober) probeAll(ctx context.Context, due []dueProvider) {
	var group errgroup.Group
	for _, d := range due {
		group.Go(func() error {
			busy, err := p.busy(ctx, d)
			if err == nil && !busy {
				err = p.Probe(ctx, d.TenantID, d.ProviderID.String())
			}
			if err != nil && ctx.Err() == nil {
				p.Log.WarnContext(ctx, "a probe failed to run", slog.String("tenant", d.TenantID), slog.String("provider", d.ProviderID.String()), slog.Any("error", err))
			}
			return nil
		})
	}
	_ = group.Wait() // every error has been logged
}

// busy tells whether calls went to the provider in the last minute: they say more about it than a probe.
func (p *Prober) busy(ctx context.Context, d dueProvider) (bool, error) {
	var busy bool
	pipeline := &pgx.Batch{}
	pipeline.Queue(`select set_config('app.tenant_id', $1, true)`, d.TenantID)
	pipeline.Queue(`select exists (select from provider_health_slots s cross join lateral unnest(s.requests) with ordinality as r(requests, i)
		where s.tenant_id = $1 and s.provider_id = $2 and s.seconds = 10 and s.block_start > now() - interval '2 minutes'
			and s.block_start + make_interval(secs => 10 * (r.i - 1)) > now() - interval '1 minute' and r.requests > 0)`, d.TenantID, d.ProviderID).QueryRow(func(row pgx.Row) error {
		return row.Scan(&busy) //nolint:wrapcheck // wrapped below
	})
	if err := p.Pool.SendBatch(ctx, pipeline).Close(); err != nil {
		return false, fmt.Errorf("look for recent calls: %w", err)
	}
	return busy, nil
}
