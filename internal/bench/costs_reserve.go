package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/archonhq/archon/gateway/budget"
	"github.com/archonhq/archon/internal/cache"
)

// reserveCosts measures reservations of one caller from four budgets at once, the settlement that follows each aside.
func (c Config) reserveCosts(ctx context.Context, scratch *Scratch) (results []Result, err error) {
	folder, err := os.MkdirTemp("", "archon-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for Redis: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	local, err := cache.Open(ctx, cache.Config{DataDir: folder})
	if err != nil {
		return nil, fmt.Errorf("start Redis: %w", err)
	}
	defer func() { err = errors.Join(err, local.Close()) }()
	budgets := budget.New(local.Client(), nil)
	return c.alone(ctx, scratch, []variant{
		{name: "reserve, " + local.Kind(), callers: 1, measure: func(ctx context.Context) (measurement, error) {
			return reserve(ctx, budgets, c.Duration)
		}},
		{name: "ping", callers: 1, measure: func(ctx context.Context) (measurement, error) {
			return drive(ctx, c.Duration, []call{func(ctx context.Context) (int64, error) { return 1, ping(ctx, local.Client()) }})
		}},
	})
}

func ping(ctx context.Context, client *redis.Client) error {
	return client.Ping(ctx).Err() //nolint:wrapcheck // drive does
}

// reserve reserves and settles for a time. The measurement's calls are the reservations alone.
func reserve(ctx context.Context, budgets *budget.Budgets, duration time.Duration) (m measurement, err error) {
	var levels []budget.Level
	for _, id := range []string{"key:1", "user:1", "department:1", "tenant"} {
		levels = append(levels, budget.Level{ID: id, Limit: budget.MaxAmount, Base: func(context.Context) (budget.Amount, int64, error) { return 0, 0, nil }})
	}
	start := time.Now()
	for time.Since(start) < duration {
		began := time.Now()
		reservation, err := budgets.Reserve(ctx, benchTenant, levels, 10)
		m.calls = append(m.calls, time.Since(began))
		if err != nil {
			return m, err //nolint:wrapcheck // interleave does
		}
		if _, err := budgets.Settle(ctx, reservation, 1, 0); err != nil {
			return m, err //nolint:wrapcheck // interleave does
		}
		m.events++
	}
	m.elapsed = time.Since(start)
	return m, nil
}
