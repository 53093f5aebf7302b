package reactions_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/projections"
	"github.com/archonhq/archon/reactions"
)

var _ = Describe("the probe schedule", Label("postgres"), func() {
	const id = "01976b2e-6b3a-7c41-9d0e-3b6c5a4f2e12"
	var worker *pgxpool.Pool
	BeforeEach(func() { worker = pool(database(), "archon_worker") })

	registered := func(enabled bool) eventstore.Typed {
		return providers.Registered{ProviderID: id, Config: providers.Config{IsEnabled: enabled}}
	}
	updated := func(enabled bool) eventstore.Typed {
		return providers.Updated{ProviderID: id, Config: providers.Config{IsEnabled: enabled}}
	}
	rotated, deleted := providers.CredentialsRotated{ProviderID: id}, providers.Deleted{ProviderID: id}

	// schedule runs batches and tells when the provider is due.
	schedule := func(ctx context.Context, tenant string, batches ...[]eventstore.Typed) string {
		GinkgoHelper()
		for _, payloads := range batches {
			events := make([]projections.Event, len(payloads))
			for i, payload := range payloads {
				events[i] = projections.Event{Recorded: eventstore.Recorded{Tenant: tenant}, Payload: payload}
			}
			out := &projections.Statements{}
			Expect(reactions.ProbeSchedule{}.Project(events, out)).To(Succeed())
			Expect(run(ctx, worker, tenant, out)).To(Succeed())
		}
		return due(ctx, worker, tenant)
	}

	DescribeTable("follows what happens to a provider", func(ctx context.Context, want string, payloads ...eventstore.Typed) {
		single := [][]eventstore.Typed{}
		for _, payload := range payloads {
			single = append(single, []eventstore.Typed{payload})
		}
		Expect(schedule(ctx, "single", single...)).To(Equal(want))
		Expect(schedule(ctx, "whole", payloads)).To(Equal(want))
	},
		Entry("a new one has just been probed", "in a minute", registered(true)),
		Entry("a disabled one is not called", "never", registered(false)),
		Entry("a change is tried at once", "at once", registered(true), updated(true)),
		Entry("so is an enabled one", "at once", registered(false), updated(true)),
		Entry("a disabled one is left alone", "never", registered(true), updated(false)),
		Entry("new credentials are tried at once", "at once", registered(true), rotated),
		Entry("but not those of a disabled one", "never", registered(false), rotated),
		Entry("nor of one that was disabled later", "never", registered(true), rotated, updated(false)),
		Entry("nor before it is enabled", "at once", registered(false), rotated, updated(true)),
		Entry("a deleted one is never probed", "never", registered(true), rotated, deleted),
		Entry("twice rotated", "at once", registered(true), rotated, rotated),
	)

	It("does not depend on where batches end", func(ctx context.Context) {
		random := rand.New(rand.NewPCG(3, 1))
		for round := range 30 {
			payloads := []eventstore.Typed{registered(random.IntN(2) == 0)}
			for range random.IntN(6) {
				payloads = append(payloads, []eventstore.Typed{updated(true), updated(false), rotated}[random.IntN(3)])
			}
			if random.IntN(3) == 0 {
				payloads = append(payloads, deleted)
			}
			cut := random.IntN(len(payloads) + 1)
			parts := [][]eventstore.Typed{}
			for _, part := range [][]eventstore.Typed{payloads[:cut], payloads[cut:]} {
				if len(part) > 0 {
					parts = append(parts, part)
				}
			}
			Expect(schedule(ctx, fmt.Sprint("cut", round), parts...)).To(Equal(schedule(ctx, fmt.Sprint("whole", round), payloads)), "%v cut at %d", payloads, cut)
		}
	})

	It("leaves a date alone that is set already", func(ctx context.Context) {
		Expect(schedule(ctx, "acme", []eventstore.Typed{updated(true)})).To(Equal("at once"))
		Expect(schedule(ctx, "acme", []eventstore.Typed{registered(true)})).To(Equal("at once"))
	})

	It("takes an id that is no UUID for the event's fault", func() {
		event := projections.Event{Recorded: eventstore.Recorded{Tenant: "acme"}, Payload: providers.CredentialsRotated{ProviderID: "x"}}
		Expect(reactions.ProbeSchedule{}.Project([]projections.Event{event}, &projections.Statements{})).To(MatchError(ContainSubstring("provider id")))
	})

	It("is a reaction for these events", func() {
		Expect(reactions.ProbeSchedule{}).To(And(
			WithTransform(reactions.ProbeSchedule.Name, Equal("probe_schedule")), WithTransform(reactions.ProbeSchedule.Version, Equal(1)),
			WithTransform(reactions.ProbeSchedule.Handles, ConsistOf("provider.registered.v1", "provider.updated.v1", "provider.credentials_rotated.v1", "provider.deleted.v1"))))
	})
})

// run executes statements as the runner does.
func run(ctx context.Context, worker *pgxpool.Pool, tenant string, out *projections.Statements) error {
	return pgx.BeginFunc(ctx, worker, func(tx pgx.Tx) error { //nolint:wrapcheck // a test
		if _, err := tx.Exec(ctx, `select set_config('app.tenant_id', $1, true)`, tenant); err != nil {
			return err //nolint:wrapcheck // a test
		}
		for sql, args := range out.All() {
			if _, err := tx.Exec(ctx, sql, args...); err != nil {
				return err //nolint:wrapcheck // a test
			}
		}
		return nil
	})
}

// due tells in words when a tenant's only provider is due.
func due(ctx context.Context, worker *pgxpool.Pool, tenant string) string {
	GinkgoHelper()
	rows, err := worker.Query(ctx, `select due_at - now() from provider_probes where tenant_id = $1`, tenant)
	Expect(err).NotTo(HaveOccurred())
	left, err := pgx.CollectRows(rows, pgx.RowTo[time.Duration])
	Expect(err).NotTo(HaveOccurred())
	switch {
	case len(left) == 0:
		return "never"
	case left[0] <= 0:
		return "at once"
	case left[0] > 30*time.Second && left[0] <= time.Minute:
		return "in a minute"
	}
	return left[0].String()
}

// dueNow makes providers due, the first one longest, and lists their ids.
func dueNow(ctx context.Context, worker *pgxpool.Pool, n int) []string {
	GinkgoHelper()
	ids := make([]string, n)
	for i := range ids {
		ids[i] = uuid.Must(uuid.NewV7()).String()
		_, err := worker.Exec(ctx, `insert into provider_probes (tenant_id, provider_id, due_at) values ($1, $2, now() - make_interval(secs => $3))`,
			fmt.Sprint("tenant-", i%3), ids[i], n-i)
		Expect(err).NotTo(HaveOccurred())
	}
	return ids
}
