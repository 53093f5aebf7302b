package bench

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/archonhq/archon/eventstore"
)

const (
	benchTenant = "bench"
	benchType   = "bench.happened.v1"
	// maxInsertConns bounds the connections of the insert variant: beyond it PostgreSQL only gets slower.
	maxInsertConns = 64
	// copyRows is how many rows the copy variant sends at once.
	copyRows = 1000
)

// Append measures durable appends of one event a call from config.Callers callers to one tenant, each to a stream of its own
// at its expected version, beside two baselines that get the same rows:
//
//	insert: a prepared single-row insert a transaction, on as many connections as callers, at most 64
//	copy:   binary COPY of 1000 rows a transaction, on one connection; the caller is one, the figure an upper bound
//
// The baselines' table has the columns and the two unique keys of events, and no trigger, policy or partition.
func Append(ctx context.Context, config Config) (err error) {
	config = config.withDefaults()
	scratch, err := OpenScratch(ctx, config.OwnerDSN)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, scratch.Close(ctx)) }()
	environment, err := scratch.environment(ctx)
	if err != nil {
		return err
	}
	environment.Rounds, environment.Seconds, environment.PoolSize = config.Rounds, config.Duration.Seconds(), config.PoolSize
	variants, err := config.appendVariants(ctx, scratch)
	if err != nil {
		return err
	}
	results, err := config.interleave(ctx, "append", scratch, variants)
	if err != nil {
		return err
	}
	return config.write(environment, results)
}

func (c Config) appendVariants(ctx context.Context, scratch *Scratch) ([]variant, error) {
	archon, err := c.archonCallers(ctx, scratch)
	if err != nil {
		return nil, err
	}
	inserting, err := newBaseline(ctx, scratch, "inserted", min(c.Callers, maxInsertConns))
	if err != nil {
		return nil, err
	}
	copying, err := newBaseline(ctx, scratch, "copied", 1)
	if err != nil {
		return nil, err
	}
	inserters := make([]call, c.Callers)
	for i := range inserters {
		inserters[i] = inserting.inserter()
	}
	measured := func(name string, callers []call) variant {
		return variant{name: name, callers: len(callers), measure: func(ctx context.Context) (measurement, error) {
			return drive(ctx, c.Duration, callers)
		}}
	}
	return []variant{
		measured("archon", archon), measured("insert", inserters), measured("copy", []call{copying.copier()}),
	}, nil
}

// archonCallers are callers of one store, as archon serve has it.
func (c Config) archonCallers(ctx context.Context, scratch *Scratch) ([]call, error) {
	pool, err := scratch.Pool(ctx, RoleApp, c.PoolSize)
	if err != nil {
		return nil, err
	}
	store := eventstore.New(pool, eventstore.Config{})
	callers := make([]call, c.Callers)
	for i := range callers {
		stream, version := "bench-"+uuid.NewString(), int64(0)
		callers[i] = func(ctx context.Context) (int64, error) {
			_, err := store.Append(ctx, eventstore.Append{
				Tenant: benchTenant,
				Expect: map[string]int64{stream: version},
				Events: []eventstore.NewEvent{{Stream: stream, Type: benchType, Data: payload(version)}},
				Meta:   []byte(meta),
			})
			if err != nil {
				return 0, fmt.Errorf("append: %w", err)
			}
			version++
			return 1, nil
		}
	}
	return callers, nil
}
