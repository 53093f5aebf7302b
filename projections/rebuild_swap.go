package projections

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/archonhq/archon/eventstore"
)

// swap is the end of a rebuild for a tenant: one transaction takes the live checkpoint's lock, so that the live projection
// stands still, catches up with what has come meanwhile, and puts the rebuilt rows in the place of those that serve. Readers
// see the ones or the others; and since the rebuild is not behind the live projection, nobody sees an event go away again.
//
// Only rows that differ are written: most rebuilds find few, or none.
type swap struct {
	shapes []shape
	// live is how far the live projection is, in any version.
	live int64
}

// errSwapLater says that the rebuild is behind the live projection, or can't go on: an ordinary batch comes first.
var errSwapLater = errors.New("the rebuild has to catch up before it can be swapped in")

// swapError marks an error as one of the rows that are swapped, not of the events before it.
type swapError struct{ error }

func (e swapError) Unwrap() error { return e.error }

// swapLimit bounds one statement of a swap, which may have a large table to go through, and so says nothing for longer than
// others.
const swapLimit = 30 * time.Minute

// suits tells whether a batch may end in the swap.
func (s *swap) suits(w *window) bool {
	return w.fault == nil && w.bad == nil && !w.more && w.end.position >= s.live
}

// queueLock stops the live projection. Where the tenant has no checkpoint of this version, one is made, to be the swapped rows'
// own: until the commit nobody sees it, and nobody else can make it.
func (s *swap) queueLock(pipeline *pgx.Batch, tenant string, live *projection) {
	pipeline.Queue(`select set_config('lock_timeout', '5s', true)`)
	pipeline.Queue(`insert into projection_checkpoints (tenant_id, projection, version, position, hash) values ($1, $2, $3, 0, $4) on conflict do nothing`,
		tenant, live.name, live.version, eventstore.Genesis(tenant))
	pipeline.Queue(`select max(position) from (
			select position from projection_checkpoints where tenant_id = $1 and projection = $2 for update) c`, tenant, live.name).
		QueryRow(func(row pgx.Row) error { return row.Scan(&s.live) })
}

// write swaps the rows and commits.
func (s *swap) write(ctx context.Context, conn *pgxpool.Conn, tenant string, rebuilt *projection, end place) error {
	patiently := conn.Conn().PgConn().Conn()
	if err := patiently.SetDeadline(time.Now().Add(swapLimit)); err != nil {
		return fmt.Errorf("swap a rebuild in: %w", err)
	}
	defer func() { _ = patiently.SetDeadline(time.Time{}) }()
	live := rebuilt.live
	// Rows are matched by their keys in one go through both tables; looked up one by one, row-level security may keep the
	// index from being searched for more than the tenant.
	_, err := conn.Exec(ctx, `select set_config('synchronous_commit', 'on', true), set_config('enable_nestloop', 'off', true),
		set_config('enable_sort', 'on', true), set_config('enable_seqscan', 'on', true), set_config('enable_bitmapscan', 'on', true)`)
	for i := range s.shapes {
		for _, sql := range s.shapes[i].swap() {
			if err == nil {
				_, err = conn.Exec(ctx, sql, tenant)
			}
		}
	}
	if err != nil {
		return swapError{fmt.Errorf("swap the rows: %w", err)}
	}
	pipeline := &pgx.Batch{}
	pipeline.Queue(`update projection_checkpoints c set position = $4, hash = $5, served_at = now(), error = null, error_position = null, error_type = null,
			status = case when exists (select from projection_checkpoints o where o.tenant_id = $1 and o.projection = $2 and o.status = 'paused') then 'paused' else 'live' end
		where tenant_id = $1 and projection = $2 and version = $3`, tenant, live.name, live.version, end.position, end.hash)
	pipeline.Queue(`delete from projection_checkpoints where tenant_id = $1 and projection = $2 and version <> $3`, tenant, live.name, live.version)
	pipeline.Queue(`delete from projection_checkpoints where tenant_id = $1 and projection = $2`, tenant, rebuilt.name)
	pipeline.Queue("commit")
	if err := conn.SendBatch(ctx, pipeline).Close(); err != nil {
		return fmt.Errorf("swap the checkpoint: %w", err)
	}
	return nil
}

// shape is what a read table and its twin in the schema rebuild look like.
type shape struct {
	table string
	// columns are all but generated ones, key those of the primary key without the tenant.
	columns, key []string
}

// errNoTwin says that a migration has forgotten the schema rebuild.
var errNoTwin = errors.New("the schema rebuild lacks the table, or a column of it, or it has no primary key that begins with tenant_id; a migration has to mend that")

// shapesOf looks the tables of a projection up. It fails with errNoTwin.
func shapesOf(ctx context.Context, conn interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}, tables []string,
) ([]shape, error) {
	shapes := make([]shape, len(tables))
	for i, table := range tables {
		rows, err := conn.Query(ctx, `
			select a.attname, exists (select from pg_index i where i.indrelid = a.attrelid and i.indisprimary and a.attnum = any(i.indkey)),
				exists (select from pg_attribute t where t.attrelid = to_regclass($2) and t.attname = a.attname and t.atttypid = a.atttypid and not t.attisdropped)
			from pg_attribute a
			where a.attrelid = to_regclass($1) and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
			order by a.attnum`, inPublic(table), inRebuild(table))
		if err != nil {
			return nil, fmt.Errorf("look at %s: %w", table, err)
		}
		one, tenantInKey := shape{table: table}, false
		var column string
		var inKey, inTwin bool
		complete := true
		_, err = pgx.ForEachRow(rows, []any{&column, &inKey, &inTwin}, func() error {
			one.columns = append(one.columns, column)
			complete = complete && inTwin
			switch {
			case inKey && column == "tenant_id":
				tenantInKey = true
			case inKey:
				one.key = append(one.key, column)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("look at %s: %w", table, err)
		}
		if !complete || !tenantInKey {
			return nil, fmt.Errorf("table %s: %w", table, errNoTwin)
		}
		shapes[i] = one
	}
	return shapes, nil
}

// swap lists the statements that make a tenant's ($1) rows of the read table those of its twin, and empty the twin.
func (s *shape) swap() []string {
	live, rebuilt := inPublic(s.table), inRebuild(s.table)
	return []string{
		`delete from ` + live + ` l where l.tenant_id = $1 and not exists (
			select from ` + rebuilt + ` r where r.tenant_id = $1` + s.matches() + ` and ` + s.same() + `)`,
		`insert into ` + live + ` (` + s.list("") + `) select ` + s.list("r.") + ` from ` + rebuilt + ` r
			where r.tenant_id = $1 and not exists (select from ` + live + ` l where l.tenant_id = $1` + s.matches() + `)`,
		`delete from ` + rebuilt + ` where tenant_id = $1`,
	}
}

// matches says that rows l and r have the same key.
func (s *shape) matches() string {
	var sql strings.Builder
	for _, column := range s.key {
		quoted := pgx.Identifier{column}.Sanitize()
		sql.WriteString(" and r." + quoted + " = l." + quoted)
	}
	return sql.String()
}

// same says that rows l and r are the same to the last bit: 1.0 is not 1.00.
func (s *shape) same() string {
	return `row(` + s.list("l.") + `)::record *= row(` + s.list("r.") + `)::record`
}

func (s *shape) list(prefix string) string {
	quoted := slices.Clone(s.columns)
	for i := range quoted {
		quoted[i] = prefix + pgx.Identifier{quoted[i]}.Sanitize()
	}
	return strings.Join(quoted, ", ")
}
