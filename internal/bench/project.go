package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/eventcodec"
	"github.com/archonhq/archon/projections"
)

const (
	// benchProviders is how many providers the log that is caught up with is about.
	benchProviders = 100
	// lagRate is how many events a second are appended while the lag is measured.
	lagRate = 2000
	// lagCallers append them.
	lagCallers = 32
	// benchStep is the time between two events: each provider has one in 10 s, as one busy node would write them.
	benchStep = 10 * time.Second / benchProviders
	// projectConns is the size of the runner's pool.
	projectConns = 8
)

// Project measures a catch-up of the provider projections with a log of config.Events events beside a binary COPY of the
// same table, and then how far the read tables are behind while 2,000 events a second are appended.
//
// Of 20 events about one of 100 providers, 16 are samples of calls, 2 are probes, 1 is a change and 1 a rotation: a log is
// mostly telemetry.
func Project(ctx context.Context, config Config) (err error) {
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
	environment.Rounds, environment.Events, environment.PoolSize = config.Rounds, config.Events, projectConns
	worker, owner, err := config.providersLog(ctx, scratch)
	if err != nil {
		return err
	}
	results, err := config.interleave(ctx, "project", scratch, []variant{
		{name: "archon", measure: func(ctx context.Context) (measurement, error) {
			if err := forgetProjections(ctx, owner); err != nil {
				return measurement{}, err
			}
			return timed(func(ctx context.Context) (int64, error) { return catchUp(ctx, worker, int64(config.Events)) })(ctx)
		}},
		{name: "copy", measure: timed(func(ctx context.Context) (int64, error) { return copyOut(ctx, owner) })},
	})
	if err != nil {
		return err
	}
	lag, err := config.measureLag(ctx, scratch, worker)
	if err != nil {
		return err
	}
	return config.write(environment, append(results, lag))
}

func copyOut(ctx context.Context, owner *pgxpool.Pool) (int64, error) {
	conn, err := owner.Acquire(ctx)
	if err != nil {
		return 0, fmt.Errorf("take a connection: %w", err)
	}
	defer conn.Release()
	tag, err := conn.Conn().PgConn().CopyTo(ctx, io.Discard, "copy events to stdout (format binary)")
	return tag.RowsAffected(), err //nolint:wrapcheck // timed does
}

// forgetProjections takes the read tables back to an empty log.
func forgetProjections(ctx context.Context, owner *pgxpool.Pool) error {
	_, err := owner.Exec(ctx, `truncate projection_checkpoints, model_providers, provider_health, provider_health_history, provider_health_slots`)
	if err != nil {
		return fmt.Errorf("empty the read tables: %w", err)
	}
	return nil
}

// catchUp projects the whole log with a runner that knows nothing yet.
func catchUp(ctx context.Context, worker *pgxpool.Pool, events int64) (int64, error) {
	runner, err := projections.NewRunner(worker, eventcodec.New(), projections.Config{}, projections.Providers{})
	if err != nil {
		return 0, err //nolint:wrapcheck // timed does
	}
	return events, runner.Wait(ctx, benchTenant, events) //nolint:wrapcheck // timed does
}

// measureLag appends at a constant rate to a tenant of its own while all projections run, and measures the time from each
// event's occurrence to the checkpoint that covers it, in all of them.
func (c Config) measureLag(ctx context.Context, scratch *Scratch, worker *pgxpool.Pool) (Result, error) {
	const tenant = "lag"
	app, err := scratch.Pool(ctx, RoleApp, c.PoolSize)
	if err != nil {
		return Result{}, err
	}
	seen := newLagMeter()
	runner, err := projections.NewRunner(worker, eventcodec.New(), projections.Config{Projected: func(of, projection string, position int64) {
		if of == tenant {
			seen.projected(projection, position)
		}
	}}, projections.Providers{}, projections.AuditIndex{})
	if err != nil {
		return Result{}, fmt.Errorf("make a runner: %w", err)
	}
	// The log of the catch-up is not in the audit index yet. Left alone, the runner would work that off meanwhile.
	if err := runner.Wait(ctx, benchTenant, int64(c.Events)); err != nil {
		return Result{}, fmt.Errorf("catch up before the lag is measured: %w", err)
	}
	if err := scratch.settle(ctx); err != nil {
		return Result{}, err
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- runner.Run(running) }()
	store := eventstore.New(app, eventstore.Config{Appended: func(of string, _ int64) { runner.Wake(of) }})

	start := time.Now()
	appended, err := appendAtRate(ctx, store, tenant, c.Duration, seen)
	elapsed := time.Since(start)
	if err == nil {
		err = runner.Wait(ctx, tenant, appended)
	}
	stop()
	if err := errors.Join(err, <-ended); err != nil {
		return Result{}, fmt.Errorf("measure the lag: %w", err)
	}
	return merge("project", "lag", lagCallers, []measurement{{events: appended, elapsed: elapsed, calls: seen.lags}}), nil
}

// appendAtRate appends events at the times of a fixed schedule. A caller that is late, because its last append took long or
// because it was woken late, appends at once: the rate holds as long as not all of them are busy for good.
func appendAtRate(ctx context.Context, store *eventstore.Store, tenant string, duration time.Duration, seen *lagMeter) (int64, error) {
	next := providerEvents(func(int) time.Time { return time.Now().UTC() })
	due := schedule{start: time.Now(), step: time.Second / lagRate, times: int(duration.Seconds() * lagRate)}
	var mu sync.Mutex
	var group sync.WaitGroup
	var failures []error
	fail := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		failures = append(failures, err)
	}
	for range lagCallers {
		group.Go(func() {
			for due.wait(ctx) {
				mu.Lock()
				stream, eventType, _, data := next(seen.take())
				mu.Unlock()
				result, err := store.Append(ctx, eventstore.Append{
					Tenant: tenant, Events: []eventstore.NewEvent{{Stream: stream, Type: eventType, Data: data}}, Meta: []byte(meta),
				})
				if err != nil {
					fail(err)
					return
				}
				seen.appended(result.Last, time.UnixMicro(result.OccurredAt))
			}
		})
	}
	group.Wait()
	return seen.head(), errors.Join(failures...)
}

// schedule hands out times that lie a step apart.
type schedule struct {
	mu    sync.Mutex
	start time.Time
	step  time.Duration
	times int
	taken int
}

// wait takes the next time and waits for it. It returns false once there is none left or ctx has ended.
func (s *schedule) wait(ctx context.Context) bool {
	s.mu.Lock()
	at := s.start.Add(time.Duration(s.taken) * s.step)
	over := s.taken >= s.times
	s.taken++
	s.mu.Unlock()
	if over {
		return false
	}
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// lagMeter matches appended events with the checkpoints that cover them.
type lagMeter struct {
	mu       sync.Mutex
	taken    int
	occurred map[int64]time.Time
	pending  map[string]int64 // by projection, the last position that was matched
	covered  map[string]map[int64]time.Time
	lags     []time.Duration
	last     int64
}

func newLagMeter() *lagMeter {
	return &lagMeter{occurred: map[int64]time.Time{}, pending: map[string]int64{}, covered: map[string]map[int64]time.Time{}}
}

func (m *lagMeter) take() int {
	m.taken++
	return m.taken - 1
}

func (m *lagMeter) head() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last
}

func (m *lagMeter) appended(position int64, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.occurred[position] = at
	m.last = max(m.last, position)
	for _, covered := range m.covered {
		if when, already := covered[position]; already { // it was projected before its caller was told
			m.lags = append(m.lags, max(when.Sub(at), 0))
			delete(covered, position)
		}
	}
}

func (m *lagMeter) projected(projection string, position int64) {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.covered[projection] == nil {
		m.covered[projection] = map[int64]time.Time{}
	}
	for p := m.pending[projection] + 1; p <= position; p++ {
		if at, known := m.occurred[p]; known {
			m.lags = append(m.lags, now.Sub(at))
		} else {
			m.covered[projection][p] = now
		}
	}
	m.pending[projection] = position
}

// providerEvents yields a log about benchProviders providers, whose calls and probes end at the times that now gives.
func providerEvents(now func(i int) time.Time) func(i int) (stream, eventType string, version int64, data []byte) {
	log := &providerLog{versions: map[string]int64{}, now: now}
	for range benchProviders {
		log.ids = append(log.ids, uuid.Must(uuid.NewV7()).String())
	}
	return func(i int) (string, string, int64, []byte) {
		stream, event := log.next(i)
		log.versions[stream]++
		data, err := json.Marshal(event)
		if err != nil {
			panic("an event that can't be encoded: " + err.Error())
		}
		return stream, event.EventType(), log.versions[stream], data
	}
}

type providerLog struct {
	ids      []string
	versions map[string]int64
	now      func(i int) time.Time
}

func (l *providerLog) next(i int) (string, domain.Event) {
	const kinds, probes, change, rotation = 20, 17, 18, 19
	id := l.ids[i%len(l.ids)]
	config := providers.Config{
		Name: fmt.Sprintf("Provider %d, change %d", i%len(l.ids), i), Type: "openai", BaseURL: "https://api.openai.com", IsEnabled: true,
		SupportedModels: []string{"gpt-4o", "gpt-4o-mini"}, Capabilities: []string{"vision", "streaming"}, CustomHeaders: []string{},
	}
	secret := providers.Secret{VaultPath: "secret/tenants/bench/providers/" + id, SecretVersion: 1 + i/len(l.ids)}
	at := l.now(i)
	if i < len(l.ids) {
		return providers.Stream(id), providers.Registered{ProviderID: id, Config: config, Secret: secret}
	}
	switch kind := (i / len(l.ids)) % kinds; {
	case kind == rotation:
		return providers.Stream(id), providers.CredentialsRotated{ProviderID: id, Secret: secret}
	case kind == change:
		return providers.Stream(id), providers.Updated{ProviderID: id, Config: config, Secret: secret, Changed: []string{"name"}}
	case kind >= probes-1:
		return providers.HealthStream(id), providers.Probed{ProviderID: id, OK: true, LatencyMS: int64(i % 900), ModelsFound: 12, Trigger: providers.OnSchedule, CheckedAt: at}
	}
	sample := providers.Sampled{ProviderID: id, From: at.Add(-10 * time.Second), To: at, Requests: 20, Errors: int64(i % 2)}
	for call := range 20 {
		sample.Latency.Add(float64(100 + (i*31+call*97)%2000))
	}
	return providers.HealthStream(id), sample
}

// providersLog fills the log that projections are measured with, up to now, and opens what they need.
func (c Config) providersLog(ctx context.Context, scratch *Scratch) (worker, owner *pgxpool.Pool, err error) {
	first := time.Now().UTC().Truncate(time.Second).Add(-time.Duration(c.Events) * benchStep)
	log := providerEvents(func(i int) time.Time { return first.Add(time.Duration(i) * benchStep) })
	if err := scratch.FillEvery(ctx, benchTenant, c.Events, benchStep, log); err != nil {
		return nil, nil, err
	}
	if worker, err = scratch.Pool(ctx, RoleWorker, projectConns); err != nil {
		return nil, nil, err
	}
	owner, err = scratch.Pool(ctx, RoleOwner, 1)
	return worker, owner, err
}
