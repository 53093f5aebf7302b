package reactions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

var (
	// ErrNoJob says that the tenant has no such job.
	ErrNoJob = errors.New("there is no such job")
	// ErrJobState says that the job has not failed, so that it can be neither retried nor discarded.
	ErrJobState = errors.New("the job has not failed")
)

// Status of a job, as it is stored. A pending one is running while somebody holds its lease.
type Status string

// The states of a job.
const (
	Pending   Status = "pending"
	Done      Status = "done"
	Failed    Status = "failed"
	Discarded Status = "discarded"
)

// Record is a job as it stands in the queue.
type Record struct {
	Job

	// Number orders jobs by when they were enqueued.
	Number   int64
	Status   Status
	Attempts int
	// Error is why it failed last; empty where it did not.
	Error   string
	Running bool
	// RunAfter is when it is due; CreatedAt and FinishedAt are when it was enqueued and ended, the latter nil before that.
	RunAfter, CreatedAt time.Time
	FinishedAt          *time.Time
}

// Jobs shows and steers the jobs of one tenant at a time.
type Jobs struct {
	// Pool's sessions run as archon_app.
	Pool *pgxpool.Pool
}

const jobColumns = `select tenant_id, uuid, id, topic, payload, metadata, status, attempts, coalesce(last_error, ''),
	status = 'pending' and coalesce(locked_until > now(), false), run_after, created_at, finished_at from jobs `

// List returns at most limit jobs, newest first, with a number below before (all where it is 0) and, where states are named,
// in one of them.
func (j *Jobs) List(ctx context.Context, tenant string, before int64, limit int, states ...Status) ([]Record, error) {
	names := make([]string, len(states))
	for i, state := range states {
		names[i] = string(state)
	}
	return j.query(ctx, tenant, jobColumns+`where tenant_id = $1 and ($2 = 0 or id < $2) and (cardinality($3::text[]) = 0 or status = any($3))
		order by id desc limit $4`, before, names, limit)
}

// Get returns one job, or ErrNoJob.
func (j *Jobs) Get(ctx context.Context, tenant string, id uuid.UUID) (Record, error) {
	found, err := j.query(ctx, tenant, jobColumns+`where tenant_id = $1 and uuid = $2`, id)
	if err != nil {
		return Record{}, err
	}
	if len(found) == 0 {
		return Record{}, ErrNoJob
	}
	return found[0], nil
}

// Retry queues a failed job again, with all its tries.
func (j *Jobs) Retry(ctx context.Context, tenant string, id uuid.UUID) (Record, error) {
	return j.steer(ctx, tenant, id, `update jobs set status = 'pending', attempts = 0, run_after = now(), finished_at = null, lock_token = null, locked_until = null
		where tenant_id = $1 and uuid = $2 and status = 'failed'`)
}

// Discard gives a failed job up.
func (j *Jobs) Discard(ctx context.Context, tenant string, id uuid.UUID) (Record, error) {
	return j.steer(ctx, tenant, id, `update jobs set status = 'discarded', finished_at = now() where tenant_id = $1 and uuid = $2 and status = 'failed'`)
}

func (j *Jobs) steer(ctx context.Context, tenant string, id uuid.UUID, statement string) (Record, error) {
	var changed int64
	pipeline := &pgx.Batch{}
	pipeline.Queue(`select set_config('app.tenant_id', $1, true)`, tenant)
	pipeline.Queue(statement, tenant, id)
	results := j.Pool.SendBatch(ctx, pipeline)
	_, err := results.Exec()
	if err == nil {
		tag, failed := results.Exec()
		changed, err = tag.RowsAffected(), failed
	}
	if err := errors.Join(err, results.Close()); err != nil {
		return Record{}, fmt.Errorf("steer a job: %w", err)
	}
	record, err := j.Get(ctx, tenant, id)
	if err == nil && changed == 0 {
		err = ErrJobState
	}
	return record, err
}

func (j *Jobs) query(ctx context.Context, tenant, sql string, args ...any) ([]Record, error) {
	var records []Record
	pipeline := &pgx.Batch{}
	pipeline.Queue(`select set_config('app.tenant_id', $1, true)`, tenant)
	pipeline.Queue(sql, append([]any{tenant}, args...)...).Query(func(rows pgx.Rows) (err error) {
		records, err = pgx.CollectRows(rows, scanRecord)
		return err //nolint:wrapcheck // wrapped below
	})
	if err := j.Pool.SendBatch(ctx, pipeline).Close(); err != nil {
		return nil, fmt.Errorf("read jobs: %w", err)
	}
	return records, nil
}

func scanRecord(row pgx.CollectableRow) (Record, error) {
	var r Record
	var metadata []byte
	var payload []byte
	if err := row.Scan(&r.Tenant, &r.ID, &r.Number, &r.Topic, &payload, &metadata, &r.Status, &r.Attempts, &r.Error,
		&r.Running, &r.RunAfter, &r.CreatedAt, &r.FinishedAt); err != nil {
		return r, fmt.Errorf("scan a job: %w", err)
	}
	r.Payload = payload
	var named map[string]string
	if err := json.Unmarshal(metadata, &named); err != nil {
		return r, fmt.Errorf("read a job's metadata: %w", err)
	}
	r.CorrelationID, r.CausationID = named[metadataCorrelation], named[metadataCausation]
	return r, nil
}
