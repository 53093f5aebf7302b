package eventstore

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"golang.org/x/mod/sumdb/tlog"
)

// Checkpoint is what is signed of a log: its origin, how many events it has and the root of the tree over them.
type Checkpoint struct {
	// Origin is "<deployment>/<tenant>/<incarnation>", see [Origin].
	Origin string
	Size   int64
	Root   tlog.Hash
}

// Origin names a tenant's log, and with it the key that signs it. The incarnation counts from 1 and grows where a restored
// backup was declared, so that what was signed before the restore and after it can't be taken for the same log.
func Origin(deployment, tenant string, incarnation int) string {
	return deployment + "/" + tenant + "/" + strconv.Itoa(incarnation)
}

// TenantOf is the tenant that an origin names, empty where it is none of ours.
func TenantOf(origin string) string {
	parts := strings.Split(origin, "/")
	const least = 3 // the deployment may have slashes of its own
	if len(parts) < least {
		return ""
	}
	return parts[len(parts)-2]
}

// Body is the text that is signed, as C2SP's tlog-checkpoint has it: origin, size in decimal, root in base64, a line each.
func (c *Checkpoint) Body() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, base64.StdEncoding.EncodeToString(c.Root[:]))
}

var errCheckpoint = errors.New("not a checkpoint")

// ParseCheckpoint is the inverse of Body. Lines after the third are skipped, as C2SP wants. That somebody signed it is for
// the note around it to say.
func ParseCheckpoint(body string) (Checkpoint, error) {
	const lines = 4 // and what follows the last line break
	parts := strings.SplitN(body, "\n", lines)
	if len(parts) < lines || parts[0] == "" {
		return Checkpoint{}, fmt.Errorf("%w: it needs an origin, a size and a root, a line each", errCheckpoint)
	}
	size, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != parts[1] {
		return Checkpoint{}, fmt.Errorf("%w: its second line is not a size in decimal", errCheckpoint)
	}
	root, err := base64.StdEncoding.Strict().DecodeString(parts[2])
	if err != nil || len(root) != tlog.HashSize {
		return Checkpoint{}, fmt.Errorf("%w: its third line is not %d bytes in base64", errCheckpoint, tlog.HashSize)
	}
	return Checkpoint{Origin: parts[0], Size: size, Root: tlog.Hash(root)}, nil
}

// KeepCheckpoint stores a signed checkpoint, and that the tree was signed up to there.
func (s *Store) KeepCheckpoint(ctx context.Context, tenant string, checkpoint Checkpoint, note string) error {
	pipeline := &pgx.Batch{}
	pipeline.Queue(setTenant, tenant)
	pipeline.Queue(`insert into audit_checkpoints (tenant_id, size, origin, note) values ($1, $2, $3, $4) on conflict do nothing`,
		tenant, checkpoint.Size, checkpoint.Origin, note)
	pipeline.Queue(`update audit_trees set signed_size = greatest(signed_size, $2), refusal = null
		where tenant_id = $1 and (signed_size < $2 or refusal is not null)`, tenant, checkpoint.Size)
	if err := s.pool.SendBatch(ctx, pipeline).Close(); err != nil {
		return fmt.Errorf("keep a checkpoint: %w", Unavailable(err))
	}
	return nil
}

// KeepRefusal stores why the tenant's tree is not signed, until it is.
func (s *Store) KeepRefusal(ctx context.Context, tenant, reason string) error {
	pipeline := &pgx.Batch{}
	pipeline.Queue(setTenant, tenant)
	pipeline.Queue(`insert into audit_trees as t (tenant_id, refusal) values ($1, $2)
		on conflict (tenant_id) do update set refusal = excluded.refusal where t.refusal is distinct from excluded.refusal`, tenant, reason)
	if err := s.pool.SendBatch(ctx, pipeline).Close(); err != nil {
		return fmt.Errorf("keep why a tree is not signed: %w", Unavailable(err))
	}
	return nil
}

// Checkpoints returns the signed checkpoints of a tenant's log at some sizes, by size; the newest origin's where there are
// several. They are copies: who has to trust one verifies its signature.
func (s *Store) Checkpoints(ctx context.Context, tenant string, sizes ...int64) (map[int64]string, error) {
	notes := map[int64]string{}
	pipeline := &pgx.Batch{}
	pipeline.Queue(setTenant, tenant)
	pipeline.Queue(`select size, note from audit_checkpoints where tenant_id = $1 and size = any($2) order by created_at`,
		tenant, sizes).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var size int64
			var note string
			if err := rows.Scan(&size, &note); err != nil {
				return err //nolint:wrapcheck // wrapped below
			}
			notes[size] = note
		}
		return rows.Err() //nolint:wrapcheck // wrapped below
	})
	if err := s.pool.SendBatch(ctx, pipeline).Close(); err != nil {
		return nil, fmt.Errorf("read checkpoints: %w", Unavailable(err))
	}
	return notes, nil
}

// NewestCheckpoint returns the newest signed checkpoint that is stored of a tenant's log; empty where there is none.
func (s *Store) NewestCheckpoint(ctx context.Context, tenant string) (note string, err error) {
	pipeline := &pgx.Batch{}
	pipeline.Queue(setTenant, tenant)
	pipeline.Queue(`select note from audit_checkpoints where tenant_id = $1 order by size desc, created_at desc limit 1`, tenant).QueryRow(func(row pgx.Row) error {
		if err := row.Scan(&note); !errors.Is(err, pgx.ErrNoRows) {
			return err //nolint:wrapcheck // wrapped below
		}
		return nil
	})
	if err := s.pool.SendBatch(ctx, pipeline).Close(); err != nil {
		return "", fmt.Errorf("read the newest checkpoint: %w", Unavailable(err))
	}
	return note, nil
}

// Unsigned returns the tenants whose log has changed its length since it was last signed, in order. A receipt of an anchor right
// after what was signed does not count, or each receipt would be signed, anchored, and lead to the next one. The pool's sessions need
// to be archon_worker's.
func (s *Store) Unsigned(ctx context.Context) ([]string, error) {
	rows, err := s.pool.Query(ctx, `select h.tenant_id from chain_heads h left join audit_trees t using (tenant_id)
		where h.position > 0 and h.position <> coalesce(t.signed_size, 0)
			and not coalesce(h.position = t.receipt_position and t.receipt_position = t.signed_size + 1, false) order by 1`)
	if err != nil {
		return nil, fmt.Errorf("list logs that have grown: %w", Unavailable(err))
	}
	tenants, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list logs that have grown: %w", Unavailable(err))
	}
	return tenants, nil
}

// Unanchored is a log of which a newer checkpoint is signed than the anchors have.
type Unanchored struct {
	Tenant string
	Size   int64
}

// Unanchored returns the logs of which a newer checkpoint is signed than the anchors have, in order of their tenants. The pool's sessions
// need to be archon_worker's.
func (s *Store) Unanchored(ctx context.Context) ([]Unanchored, error) {
	rows, err := s.pool.Query(ctx, `select tenant_id as tenant, signed_size as size from audit_trees where signed_size > anchored_size and refusal is null order by 1`)
	if err != nil {
		return nil, fmt.Errorf("list logs to anchor: %w", Unavailable(err))
	}
	logs, err := pgx.CollectRows(rows, pgx.RowToStructByName[Unanchored])
	if err != nil {
		return nil, fmt.Errorf("list logs to anchor: %w", Unavailable(err))
	}
	return logs, nil
}

// KeepAnchored stores that the anchors have the checkpoint of a size, and at which position the log says so.
func (s *Store) KeepAnchored(ctx context.Context, tenant string, size, receipt int64) error {
	pipeline := &pgx.Batch{}
	pipeline.Queue(setTenant, tenant)
	pipeline.Queue(`update audit_trees set anchored_size = $2, receipt_position = $3 where tenant_id = $1`, tenant, size, receipt)
	if err := s.pool.SendBatch(ctx, pipeline).Close(); err != nil {
		return fmt.Errorf("keep that a checkpoint is anchored: %w", Unavailable(err))
	}
	return nil
}

// RefusedTrees counts the tenants whose tree the signer refuses to sign. The pool's sessions need to be archon_worker's.
func (s *Store) RefusedTrees(ctx context.Context) (int, error) {
	var refused int
	if err := s.pool.QueryRow(ctx, `select count(*) from audit_trees where refusal is not null`).Scan(&refused); err != nil {
		return 0, fmt.Errorf("count the refused trees: %w", Unavailable(err))
	}
	return refused, nil
}
