package transparency

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/archonhq/archon/eventstore"
)

// rootsEvery is how often the roots of all logs are recorded.
const rootsEvery = time.Hour

// Root is the state of a tenant's log at one moment.
type Root struct {
	Tenant string
	// Size and Root are zero where the log contradicts its own tree.
	Size int64
	Root tlog.Hash
}

// Roots records, once an hour, how long the logs of all tenants are and what is in them, idle ones too, in a log that is signed itself. Who
// keeps its checkpoints can tell silence from a log that was cut, or a tenant that was dropped with all that pointed to it.
type Roots struct {
	// Tenants lists every tenant with a log, besides the one that the record is in, and tells since when there is one at all.
	Tenants func(ctx context.Context) (tenants []string, since time.Time, err error)
	// Last is the last record: its time, zero where there is none, and the tenants in it.
	Last func(ctx context.Context) (at time.Time, tenants []string, err error)
	// Record writes one.
	Record func(ctx context.Context, at time.Time, roots []Root, missing []string) error
	Now    func() time.Time
}

// record writes a record where one is due: an hour after the last one, or after the first event of all.
func (r *Roots) record(ctx context.Context, log Log, logger *slog.Logger) error {
	last, before, err := r.Last(ctx)
	if err != nil || !last.IsZero() && r.Now().Sub(last) < rootsEvery {
		return err
	}
	tenants, since, err := r.Tenants(ctx)
	if err != nil || len(tenants)+len(before) == 0 || last.IsZero() && r.Now().Sub(since) < rootsEvery {
		return err
	}
	present := make(map[string]bool, len(tenants))
	roots := make([]Root, len(tenants))
	for i, tenant := range tenants {
		present[tenant] = true
		if roots[i], err = rootOf(ctx, log, tenant); err != nil {
			return err
		}
	}
	var missing []string
	for _, tenant := range before {
		if !present[tenant] {
			missing = append(missing, tenant)
			logger.ErrorContext(ctx, "the log of a tenant is gone", slog.String("tenant", tenant))
		}
	}
	if err := r.Record(ctx, r.Now(), roots, missing); err != nil {
		return fmt.Errorf("record the roots of all logs: %w", err)
	}
	return nil
}

func rootOf(ctx context.Context, log Log, tenant string) (Root, error) {
	tree, err := log.GrowTree(ctx, tenant)
	if errors.Is(err, eventstore.ErrTreeBroken) {
		return Root{Tenant: tenant}, nil // signing it says why
	}
	if err != nil {
		return Root{}, err //nolint:wrapcheck // says what it did
	}
	root, err := tree.Root(ctx, tree.Size)
	if errors.Is(err, eventstore.ErrTreeBroken) {
		return Root{Tenant: tenant}, nil
	}
	return Root{Tenant: tenant, Size: tree.Size, Root: root}, err //nolint:wrapcheck // says what it did
}
