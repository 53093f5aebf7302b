package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"

	"github.com/archonhq/archon/eventstore"
)

// eventsPerStream is how long the streams of the chain are that is read.
const eventsPerStream = 20

// errNotIntact says that a chain that was made for the bench does not verify: a fault of this program.
var errNotIntact = errors.New("the bench's own chain does not verify")

// Verify measures the verification of a chain of config.Events events beside a binary COPY of the same table that nobody
// looks at.
func Verify(ctx context.Context, config Config) (err error) {
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
	environment.Rounds, environment.Events, environment.PoolSize = config.Rounds, config.Events, 1
	if err := scratch.Fill(ctx, benchTenant, config.Events, benchEvents()); err != nil {
		return err
	}
	pool, err := scratch.Pool(ctx, RoleApp, 1)
	if err != nil {
		return err
	}
	owner, err := scratch.Pool(ctx, RoleOwner, 1)
	if err != nil {
		return err
	}
	store := eventstore.New(pool, eventstore.Config{})
	results, err := config.interleave(ctx, "verify", scratch, []variant{
		{name: "archon", measure: timed(func(ctx context.Context) (int64, error) {
			report, err := store.Verify(ctx, benchTenant, eventstore.VerifyOptions{})
			if err == nil && !report.OK {
				err = fmt.Errorf("%w: %s", errNotIntact, report.Reason)
			}
			return report.Checked, err //nolint:wrapcheck // timed does
		})},
		{name: "copy", measure: timed(func(ctx context.Context) (int64, error) {
			conn, err := owner.Acquire(ctx)
			if err != nil {
				return 0, fmt.Errorf("take a connection: %w", err)
			}
			defer conn.Release()
			tag, err := conn.Conn().PgConn().CopyTo(ctx, io.Discard, "copy events to stdout (format binary)")
			return tag.RowsAffected(), err //nolint:wrapcheck // timed does
		})},
	})
	if err != nil {
		return err
	}
	return config.write(environment, results)
}

// timed measures one call of work.
func timed(work call) func(ctx context.Context) (measurement, error) {
	return func(ctx context.Context) (measurement, error) {
		start := time.Now()
		events, err := work(ctx)
		if err != nil {
			return measurement{}, fmt.Errorf("measure: %w", err)
		}
		return measurement{events: events, elapsed: time.Since(start)}, nil
	}
}

// benchEvents yields streams of eventsPerStream events, a few of them growing at a time as in life.
func benchEvents() func(i int) (stream, eventType string, version int64, data []byte) {
	const growing = 50
	var streams [growing]string
	var versions [growing]int64
	return func(i int) (string, string, int64, []byte) {
		at := i % growing
		if versions[at]%eventsPerStream == 0 {
			streams[at], versions[at] = "bench-"+uuid.NewString(), 0
		}
		versions[at]++
		return streams[at], benchType, versions[at], payload(int64(i))
	}
}
