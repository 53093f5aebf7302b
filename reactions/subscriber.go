package reactions

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// defaultLease is how long a node that has died keeps a job from the others.
	defaultLease = 30 * time.Second
	// renewals is how often a lease is renewed within its time, so that one lost renewal does not lose the job.
	renewals = 3
	// defaultPoll is how often an idle subscriber looks for jobs.
	defaultPoll = 250 * time.Millisecond
	// defaultDrain is how long a job in hand may go on after its subscription has ended.
	defaultDrain = 10 * time.Second
	// settleTimeout bounds the statement that ends a job, also while the node is going down.
	settleTimeout = 5 * time.Second
)

// errSubscriberClosed says that Subscribe was called after Close.
var errSubscriberClosed = errors.New("the job subscriber is closed")

// Subscriber takes jobs of a topic one at a time, by lease; see the package comment. It implements message.Subscriber.
// Subscribers on any number of nodes share a topic's jobs.
type Subscriber struct {
	pool  *pgxpool.Pool
	lease time.Duration
	poll  time.Duration
	drain time.Duration
	log   *slog.Logger

	closing chan struct{}
	once    sync.Once
	active  sync.WaitGroup
}

// SubscriberConfig tunes a Subscriber; zero values are the defaults.
type SubscriberConfig struct {
	// Lease is how long a job stays taken without a sign of life; 30 s by default.
	Lease time.Duration
	// Poll is how often an idle subscriber looks for jobs; 250 ms by default.
	Poll time.Duration
	// Drain is how long the job in hand may go on after its subscription has ended, before it is interrupted and given
	// back; 10 s by default.
	Drain time.Duration
	Log   *slog.Logger
}

// NewSubscriber makes a Subscriber on a pool whose sessions run as archon_worker.
func NewSubscriber(pool *pgxpool.Pool, config SubscriberConfig) *Subscriber {
	log := config.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Subscriber{
		pool: pool, lease: cmp.Or(config.Lease, defaultLease), poll: cmp.Or(config.Poll, defaultPoll), drain: cmp.Or(config.Drain, defaultDrain),
		log: log, closing: make(chan struct{}),
	}
}

var _ message.Subscriber = (*Subscriber)(nil)

// Subscribe implements message.Subscriber. When ctx ends or the subscriber is closed, no more jobs are taken, and the channel
// is closed as soon as the one in hand has been settled. Its context goes on for the time of SubscriberConfig.Drain; what
// has not been acknowledged by then is given back to the queue.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	select {
	case <-s.closing:
		return nil, errSubscriberClosed
	default:
	}
	ctx, cancel := context.WithCancel(ctx)
	out := make(chan *message.Message)
	s.active.Go(func() {
		defer close(out)
		defer cancel()
		s.consume(ctx, topic, out)
	})
	go func() {
		select {
		case <-s.closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	return out, nil
}

// Close stops every subscription and waits until its job in hand has been settled or given back.
func (s *Subscriber) Close() error {
	s.once.Do(func() { close(s.closing) })
	s.active.Wait()
	return nil
}

// taken is a job that this subscriber holds the lease of.
type taken struct {
	tenant   string
	id       uuid.UUID
	token    uuid.UUID
	payload  []byte
	metadata message.Metadata
	attempt  int
}

func (s *Subscriber) consume(ctx context.Context, topic string, out chan<- *message.Message) {
	for ctx.Err() == nil {
		job, found, err := s.take(ctx, topic)
		if err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "can't look for jobs", slog.String("topic", topic), slog.Any("error", err))
		}
		if found {
			s.deliver(ctx, job, out)
			continue
		}
		half := s.poll / 2
		select {
		case <-ctx.Done():
		case <-time.After(half + rand.N(s.poll)): //nolint:gosec // spreads load, hides nothing
		}
	}
}

// take leases the topic's next job that is due and that nobody holds.
func (s *Subscriber) take(ctx context.Context, topic string) (job taken, found bool, err error) {
	job.token = uuid.New()
	var metadata []byte
	err = s.pool.QueryRow(ctx, `update jobs set lock_token = $2, locked_until = now() + make_interval(secs => $3), attempts = attempts + 1
		where (tenant_id, uuid, topic) = (select tenant_id, uuid, topic from jobs
			where topic = $1 and status = 'pending' and run_after <= now() and (locked_until is null or locked_until < now())
			order by run_after, id limit 1 for update skip locked)
		returning tenant_id, uuid, payload, metadata, attempts`, topic, job.token, s.lease.Seconds()).Scan(&job.tenant, &job.id, &job.payload, &metadata, &job.attempt)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return job, false, nil
	case err != nil:
		return job, false, fmt.Errorf("take a job: %w", err)
	}
	if err := json.Unmarshal(metadata, &job.metadata); err != nil {
		return job, false, fmt.Errorf("read a job's metadata: %w", err)
	}
	job.metadata.Set(metadataTenant, job.tenant)
	return job, true, nil
}

// deliver hands a job to the handler and settles it, renewing its lease meanwhile. A negative acknowledgement delivers it
// again. Once ctx has ended the job in hand still has its time to finish, or every restart of a node would do its jobs
// twice: once on the node that goes down and once where they were given back to.
func (s *Subscriber) deliver(ctx context.Context, job taken, out chan<- *message.Message) {
	held, lost := context.WithCancel(context.WithoutCancel(ctx))
	defer lost()
	keep := context.AfterFunc(ctx, func() { s.cutOff(held, lost) })
	defer keep()
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		s.renew(held, lost, job)
	}()
	acked := false
	for !acked && ctx.Err() == nil && held.Err() == nil {
		acked = s.handOver(ctx, held, job, out)
	}
	lost()
	<-renewed
	s.settle(ctx, job, acked)
}

// cutOff ends held when the time to drain is over.
func (s *Subscriber) cutOff(held context.Context, lost context.CancelFunc) {
	timer := time.NewTimer(s.drain)
	defer timer.Stop()
	select {
	case <-timer.C:
		lost()
	case <-held.Done():
	}
}

// handOver delivers the job once, unless ctx ends before somebody takes it, and waits for the verdict until held ends.
func (s *Subscriber) handOver(ctx, held context.Context, job taken, out chan<- *message.Message) (acked bool) {
	m := message.NewMessage(job.id.String(), job.payload)
	for name, value := range job.metadata {
		m.Metadata.Set(name, value)
	}
	working, done := context.WithCancel(withLease(held, job))
	defer done()
	m.SetContext(working)
	select {
	case out <- m:
	case <-ctx.Done():
		return false
	case <-held.Done():
		return false
	}
	select {
	case <-m.Acked():
		return true
	case <-m.Nacked():
		return false
	case <-held.Done():
		return false
	}
}

// renew prolongs the lease until held ends; when the lease is lost to another node, it ends held itself.
func (s *Subscriber) renew(held context.Context, lost context.CancelFunc, job taken) {
	for {
		select {
		case <-held.Done():
			return
		case <-time.After(s.lease / renewals):
		}
		tag, err := s.pool.Exec(held, `update jobs set locked_until = now() + make_interval(secs => $4)
			where tenant_id = $1 and uuid = $2 and lock_token = $3`, job.tenant, job.id, job.token, s.lease.Seconds())
		if err == nil && tag.RowsAffected() == 0 {
			lost()
			return
		}
	}
}

// settle marks an acknowledged job as done and gives another one back, unless the lease has been lost, or a handler that
// failed for good has settled the job already.
func (s *Subscriber) settle(ctx context.Context, job taken, acked bool) {
	statement := `update jobs set lock_token = null, locked_until = null where tenant_id = $1 and uuid = $2 and lock_token = $3`
	if acked {
		statement = `update jobs set status = 'done', finished_at = now(), lock_token = null, locked_until = null
			where tenant_id = $1 and uuid = $2 and lock_token = $3 and status = 'pending'`
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	if _, err := s.pool.Exec(ctx, statement, job.tenant, job.id, job.token); err != nil {
		s.log.WarnContext(ctx, "a job could not be settled and will be done again when its lease ends",
			slog.String("job", job.id.String()), slog.Any("error", err))
	}
}

type leaseKey struct{}

func withLease(ctx context.Context, job taken) context.Context {
	return context.WithValue(ctx, leaseKey{}, job)
}

// leaseOf is the lease under which a message's handler works.
func leaseOf(ctx context.Context) (taken, bool) {
	job, found := ctx.Value(leaseKey{}).(taken)
	return job, found
}
