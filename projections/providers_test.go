package projections_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/eventcodec"
	"github.com/archonhq/archon/projections"
)

var _ = Describe("the providers projection", Label("postgres"), func() {
	var b *bench
	BeforeEach(func(ctx context.Context) { b = newBench(ctx) })

	DescribeTable("builds the same rows wherever batches end, and those that a plain fold gives", func(ctx context.Context, seed uint64) {
		log := randomLog(seed, 400)
		want := foldLog(log)
		random := rand.New(rand.NewPCG(seed, 7))
		for name, next := range map[string]func() int{
			"one": func() int { return 1 }, "halves": func() int { return len(log) / 2 }, "whole": func() int { return len(log) },
			"random": func() int { return 1 + random.IntN(60) },
		} {
			b.project(ctx, name, log, next)
			Expect(b.providerRows(ctx, name)).To(Equal(want.providers), "model_providers, "+name)
			Expect(b.healthRows(ctx, name)).To(Equal(want.health), "provider_health, "+name)
			Expect(b.historyRows(ctx, name)).To(Equal(want.history()), "provider_health_history, "+name)
			Expect(b.slotRows(ctx, name)).To(Equal(want.slots()), "provider_health_slots, "+name)
		}
		whole := b.dump(ctx, "whole")
		Expect(len(whole)).To(BeNumerically(">", 50))
		for _, name := range []string{"one", "halves", "random"} {
			Expect(b.dump(ctx, name)).To(Equal(whole), name)
		}
	}, Entry(nil, uint64(1)), Entry(nil, uint64(2)), Entry(nil, uint64(3)), Entry(nil, uint64(4)), Entry(nil, uint64(5)))

	It("gives the same rows when a runner projects the log again", func(ctx context.Context) {
		log := randomLog(11, 150)
		var events []eventstore.NewEvent
		for _, event := range log {
			data, err := json.Marshal(event.Payload)
			Expect(err).NotTo(HaveOccurred())
			events = append(events, eventstore.NewEvent{Stream: event.Stream, Type: event.Type, Data: data})
		}
		result, err := b.store.Append(ctx, eventstore.Append{Tenant: "acme", Events: events, Meta: []byte(`{}`)})
		Expect(err).NotTo(HaveOccurred())
		project := func(batch int) []string {
			runner := b.runner(eventcodec.New(), projections.Config{MaxBatchEvents: batch}, projections.Providers{})
			Expect(runner.Wait(ctx, "acme", result.Last, projections.ProvidersName)).To(Succeed())
			return b.dump(ctx, "acme")
		}
		first := project(7)
		b.exec(ctx, `truncate projection_checkpoints, model_providers, provider_health, provider_health_history, provider_health_slots`)
		Expect(project(1000)).To(Equal(first))
		Expect(first).NotTo(BeEmpty())
	})

	It("takes an id that is no UUID for the event's fault", func() {
		for _, payload := range []eventstore.Typed{
			providers.Registered{ProviderID: "x"},
			providers.Updated{ProviderID: "x"},
			providers.CredentialsRotated{ProviderID: "x"},
			providers.Deleted{ProviderID: "x"},
			providers.SecretRemoved{ProviderID: "x"},
			providers.Probed{ProviderID: "x"},
			providers.Sampled{ProviderID: "x"},
		} {
			event := projections.Event{Recorded: eventstore.Recorded{Tenant: "acme", Position: 9, Type: payload.EventType()}, Payload: payload}
			Expect(projections.Providers{}.Project([]projections.Event{event}, &projections.Statements{})).To(
				MatchError(ContainSubstring("project position 9: provider id")), payload.EventType())
		}
	})
})

// randomLog is a lawful history of some providers whose events lie seconds to hours apart.
func randomLog(seed uint64, n int) []projections.Event {
	random := rand.New(rand.NewPCG(seed, 1))
	const count = 3
	ids, versions, stage := make([]string, count), make([]int64, 2*count), make([]int, count)
	for i := range ids {
		ids[i] = uuid.NewSHA1(uuid.Nil, fmt.Append(nil, seed, i)).String()
	}
	at := time.Date(2026, 3, 29, 0, 30, 0, 0, time.UTC)
	log := make([]projections.Event, 0, n)
	for len(log) < n {
		at = at.Add(randomPause(random))
		i := random.IntN(count)
		payload, telemetry := randomEvent(random, ids[i], &stage[i], at)
		stream, version := providers.Stream(ids[i]), &versions[2*i]
		if telemetry {
			stream, version = providers.HealthStream(ids[i]), &versions[2*i+1]
		}
		*version++
		position := int64(len(log) + 1)
		log = append(log, projections.Event{Payload: payload, Recorded: eventstore.Recorded{
			Stream: stream, Type: payload.EventType(), Position: position, Version: *version,
			EventID: uuid.NewSHA1(uuid.Nil, fmt.Append(nil, "event", seed, position)), OccurredAt: at.UnixMicro(),
		}})
	}
	return log
}

func randomPause(random *rand.Rand) time.Duration {
	switch random.IntN(40) {
	case 0:
		return time.Duration(random.IntN(40)) * time.Hour
	case 1, 2:
		return time.Duration(random.IntN(90)) * time.Minute
	}
	return time.Duration(random.IntN(9_000_000)) * time.Microsecond
}

// stages of a provider in randomEvent.
const (
	unregistered = iota
	registered
	deleted
	gone
)

func randomEvent(random *rand.Rand, id string, stage *int, at time.Time) (payload eventstore.Typed, telemetry bool) {
	secret := providers.Secret{VaultPath: "secret/" + id, SecretVersion: random.IntN(1000)}
	if *stage == unregistered {
		*stage = registered
		return providers.Registered{ProviderID: id, Config: randomConfig(random), Secret: secret}, false
	}
	switch kind := random.IntN(60); {
	case kind < 4 && *stage == registered:
		return providers.Updated{ProviderID: id, Config: randomConfig(random), Secret: secret}, false
	case kind < 7 && *stage == registered:
		return providers.CredentialsRotated{ProviderID: id, Secret: providers.Secret{VaultPath: secret.VaultPath + "/moved", SecretVersion: 7}}, false
	case kind == 7 && *stage == registered && random.IntN(4) == 0:
		*stage = deleted
		return providers.Deleted{ProviderID: id}, false
	case kind < 12 && *stage == deleted:
		*stage = gone
		return providers.SecretRemoved{ProviderID: id}, false
	case kind < 25:
		ok := random.IntN(3) > 0
		probe := providers.Probed{ProviderID: id, OK: ok, LatencyMS: random.Int64N(900), ModelsFound: random.IntN(30), Trigger: providers.OnSchedule, CheckedAt: at.Add(-time.Duration(random.IntN(3000)) * time.Millisecond)}
		if !ok {
			probe.Failures, probe.Error = 1+random.IntN(4), "it's 'away'"
		}
		return probe, true
	}
	from := at.Add(-time.Duration(random.IntN(30_000)) * time.Millisecond)
	if random.IntN(30) == 0 {
		from = at.Add(-time.Duration(random.IntN(9*24)) * time.Hour) // a node that reports late
	}
	sample := providers.Sampled{ProviderID: id, From: from, To: from.Add(10 * time.Second), Requests: random.Int64N(40)}
	if sample.Requests > 0 && random.IntN(2) == 0 {
		sample.Errors = random.Int64N(sample.Requests + 1)
	}
	for range sample.Requests - random.Int64N(2) {
		sample.Latency.Add(random.ExpFloat64() * 700)
	}
	return sample, true
}

func randomConfig(random *rand.Rand) providers.Config {
	config := providers.Config{
		Name: fmt.Sprintf(`P "%d" ü\`, random.IntN(1e6)), Type: providers.Types()[random.IntN(len(providers.Types()))], BaseURL: "https://h/'",
		IsEnabled: random.IntN(2) == 0, SupportedModels: []string{"a", `b"`}[:random.IntN(3)], Capabilities: []string{}, CustomHeaders: []string{"X-A"},
	}
	if random.IntN(2) == 0 {
		limit := random.Int64N(1e12)
		config.RateLimitRPM = &limit
	}
	return config
}

// project runs the projector over the log, in batches.
func (b *bench) project(ctx context.Context, tenant string, log []projections.Event, next func() int) {
	GinkgoHelper()
	b.inBatches(ctx, tenant, log, next, fold)
}

// fold is what a batch does, with parts now and then.
func fold(batch []projections.Event) *projections.Statements {
	GinkgoHelper()
	random := rand.New(rand.NewPCG(uint64(len(batch)), 3))
	out, sum := &projections.Statements{}, projections.Providers{}.Fold()
	for i := range batch {
		event := batch[i]
		event.Payload = projections.Pointer(event.Payload)
		Expect(sum.Add(&event)).To(Succeed())
		if random.IntN(20) == 0 {
			sum.Part(out)
		}
	}
	sum.Write(out)
	return out
}

// dump is every column but the tenant of every row of the projection's tables, in order of their keys.
func (b *bench) dump(ctx context.Context, tenant string) []string {
	GinkgoHelper()
	var all []string
	for _, table := range []string{"model_providers", "provider_health", "provider_health_history", "provider_health_slots"} {
		rows, err := b.owner.Query(ctx, `select '`+table+`' || (to_jsonb(t) - 'tenant_id')::text from `+table+` t where tenant_id = $1 order by 1`, tenant)
		Expect(err).NotTo(HaveOccurred())
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		Expect(err).NotTo(HaveOccurred())
		all = append(all, lines...)
	}
	return all
}

func collect[T any](ctx context.Context, b *bench, sql string, args ...any) []T {
	GinkgoHelper()
	rows, err := b.owner.Query(ctx, sql, args...)
	Expect(err).NotTo(HaveOccurred())
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[T])
	Expect(err).NotTo(HaveOccurred())
	return found
}
