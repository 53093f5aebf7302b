package projections

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Kind says how a row of a read table is not what the log says.
type Kind string

const (
	// Changed says that columns have other values.
	Changed Kind = "changed"
	// Missing says that the log has such a row, and the table has not.
	Missing Kind = "missing"
	// Extra says that the table has such a row, and the log has not.
	Extra Kind = "extra"
)

// Difference is a row of a read table that is not what the log says.
type Difference struct {
	Tenant string `json:"tenant_id"`
	Table  string `json:"table"`
	Kind   Kind   `json:"kind"`
	// Key are the columns of the primary key but for the tenant, with the same values in Live and Fresh.
	Key []Value `json:"key"`
	// Columns are those that differ; there are none where the row is missing or extra.
	Columns []Value `json:"columns"`
}

// Value is a column with its value in the read table and in the fresh fold, as text; nil is NULL.
type Value struct {
	Column string  `json:"column"`
	Live   *string `json:"live"`
	Fresh  *string `json:"fresh"`
}

// Comparison is what a comparison was about.
type Comparison struct {
	// Position is where the read tables were: what was folded ends there.
	Position int64
	// Rows is how many rows the fresh fold has.
	Rows int64
	// Differences is how many rows differ.
	Differences int
}

// errNoLive says that there is nothing to compare.
var errNoLive = errors.New("this version of it has not been built for the tenant")

// Diff folds a tenant's log into tables of its own session and holds the rows of a projection against them, both at the
// position at which the projection is: live traffic may go on meanwhile. found is told of every difference. It fails with
// ErrUnknownProjection, ErrNeverRebuilt, and where an event up to the position can't be folded.
func (r *Runner) Diff(ctx context.Context, projection, tenant string, found func(Difference) error) (Comparison, error) {
	p, err := r.rebuildable(projection)
	if err != nil {
		return Comparison{}, err
	}
	// A connection of its own: the temporary tables hide the read tables from all statements on it.
	conn, err := pgx.ConnectConfig(ctx, r.pool.Config().ConnConfig)
	if err != nil {
		return Comparison{}, fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if err := teach(ctx, conn, p.Projector); err != nil {
		return Comparison{}, err
	}
	d := &differ{conn: conn, projection: p, tenant: tenant, config: r.config, at: genesis(tenant)}
	told, err := d.run(ctx, found)
	if err != nil {
		return told, fmt.Errorf("compare %s of %s: %w", projection, tenant, err)
	}
	return told, nil
}

// differ is one comparison; at is how far it has folded.
type differ struct {
	conn       *pgx.Conn
	projection *projection
	tenant     string
	config     Config
	at         place
}

func (d *differ) run(ctx context.Context, found func(Difference) error) (told Comparison, err error) {
	shapes, err := shapesOf(ctx, d.conn, d.projection.tables)
	if err != nil {
		return told, err
	}
	for _, table := range d.projection.tables {
		if _, err := d.conn.Exec(ctx, `create temporary table `+pgx.Identifier{table}.Sanitize()+` (like `+inPublic(table)+` including all)`); err != nil {
			return told, fmt.Errorf("make a temporary table: %w", err)
		}
	}
	target, err := d.live(ctx, d.conn)
	if err != nil {
		return told, err
	}
	for d.at.position < target.position {
		if err := pgx.BeginFunc(ctx, d.conn, func(tx pgx.Tx) error { return d.fold(ctx, tx, target.position) }); err != nil {
			return told, err //nolint:wrapcheck // the caller does
		}
	}
	// From here on one snapshot shows the rows, how far they are, and the events that came meanwhile.
	err = pgx.BeginTxFunc(ctx, d.conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		if target, err = d.live(ctx, tx); err != nil {
			return err
		}
		for d.at.position < target.position {
			if err := d.fold(ctx, tx, target.position); err != nil {
				return err
			}
		}
		if !d.at.is(target) {
			return fmt.Errorf("%w: the checkpoint is not at the hash of position %d", errBrokenChain, target.position)
		}
		told.Position = target.position
		return d.compare(ctx, tx, shapes, &told, found)
	})
	return told, err //nolint:wrapcheck // the caller does
}

// querier is a connection, or a transaction on it.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// live is how far the projection is.
func (d *differ) live(ctx context.Context, q querier) (at place, err error) {
	err = q.QueryRow(ctx, `select position, hash from projection_checkpoints where tenant_id = $1 and projection = $2 and version = $3`,
		d.tenant, d.projection.name, d.projection.version).Scan(&at.position, &at.hash)
	if errors.Is(err, pgx.ErrNoRows) {
		return at, errNoLive
	}
	if err != nil {
		return at, fmt.Errorf("look how far it is: %w", err)
	}
	return at, nil
}

// fold does a batch, at most up to a position.
func (d *differ) fold(ctx context.Context, q querier, upTo int64) error {
	c := d.projection.collector(d.tenant, d.at)
	sql, args := d.projection.query(d.tenant, &d.at.position, min(int64(d.config.MaxBatchEvents), upTo-d.at.position), d.config.MaxBatchBytes)
	pipeline := &pgx.Batch{}
	pipeline.Queue(`select set_config('app.tenant_id', $1, true),`+planByIndex, d.tenant)
	pipeline.Queue(sql, args...).Query(func(rows pgx.Rows) error {
		_, err := c.collect(rows)
		return err
	})
	if err := q.SendBatch(ctx, pipeline).Close(); err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	w := c.finish()
	switch {
	case w.bad != nil:
		return w.bad
	case w.len() == 0 && w.fault != nil:
		return fmt.Errorf("position %d: %w", w.fault.position, w.fault.err)
	case w.len() == 0:
		return fmt.Errorf("%w: there are no events after position %d", errBrokenChain, d.at.position)
	}
	pipeline = &pgx.Batch{}
	w.out.queue(pipeline)
	if pipeline.Len() > 0 {
		if err := q.SendBatch(ctx, pipeline).Close(); err != nil {
			return fmt.Errorf("fold positions %d to %d: %w", d.at.position+1, w.end.position, err)
		}
	}
	d.at = place{position: w.end.position, hash: append([]byte{}, w.end.hash...)}
	return nil
}

// compare holds the rows against each other, in the order of their keys.
func (d *differ) compare(ctx context.Context, tx pgx.Tx, shapes []shape, told *Comparison, found func(Difference) error) error {
	if _, err := tx.Exec(ctx, `select set_config('app.tenant_id', $1, true), set_config('enable_seqscan', 'on', true), set_config('enable_sort', 'on', true),
			set_config('enable_nestloop', 'off', true)`, d.tenant); err != nil {
		return fmt.Errorf("prepare the comparison: %w", err)
	}
	for i := range shapes {
		s := &shapes[i]
		var count int64
		fresh := pgx.Identifier{"pg_temp", s.table}.Sanitize()
		if err := tx.QueryRow(ctx, `select count(*) from `+fresh).Scan(&count); err != nil {
			return fmt.Errorf("count the rows of %s: %w", s.table, err)
		}
		told.Rows += count
		rows, err := tx.Query(ctx, s.compare(fresh), d.tenant)
		if err != nil {
			return fmt.Errorf("compare %s: %w", s.table, err)
		}
		var inLive, inFresh bool
		var live, folded []*string
		_, err = pgx.ForEachRow(rows, []any{&inLive, &inFresh, &live, &folded}, func() error {
			told.Differences++
			return found(s.difference(d.tenant, inLive, inFresh, live, folded))
		})
		if err != nil {
			return fmt.Errorf("compare %s: %w", s.table, err)
		}
	}
	return nil
}

// compare is the statement that finds the rows that differ between the read table (l) and a fresh one (r).
func (s *shape) compare(fresh string) string {
	texts := func(row string) string {
		columns := make([]string, len(s.columns))
		for i, column := range s.columns {
			columns[i] = row + "." + pgx.Identifier{column}.Sanitize() + "::text"
		}
		return "array[" + strings.Join(columns, ", ") + "]::text[]"
	}
	order := []string{"1"}
	for _, column := range s.key {
		quoted := pgx.Identifier{column}.Sanitize()
		order = append(order, "coalesce(l."+quoted+", r."+quoted+")")
	}
	return `select l.tenant_id is not null, r.tenant_id is not null, ` + texts("l") + `, ` + texts("r") + `
		from (select * from ` + inPublic(s.table) + ` where tenant_id = $1) l
		full join (select * from ` + fresh + ` where tenant_id = $1) r on r.tenant_id = l.tenant_id` + s.matches() + `
		where l.tenant_id is null or r.tenant_id is null or not ` + s.same() + ` order by ` + strings.Join(order, ", ")
}

func (s *shape) difference(tenant string, inLive, inFresh bool, live, fresh []*string) Difference {
	one := Difference{Tenant: tenant, Table: s.table, Kind: Changed, Key: []Value{}, Columns: []Value{}}
	switch {
	case !inLive:
		one.Kind = Missing
	case !inFresh:
		one.Kind = Extra
	}
	for i, column := range s.columns {
		value := Value{Column: column, Live: live[i], Fresh: fresh[i]}
		switch {
		case slices.Contains(s.key, column):
			one.Key = append(one.Key, value)
		case one.Kind == Changed && !sameText(live[i], fresh[i]):
			one.Columns = append(one.Columns, value)
		}
	}
	return one
}

func sameText(a, b *string) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }
