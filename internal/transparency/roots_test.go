package transparency_test

import (
	"context"
	"errors"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/internal/transparency"
)

// book is where records of roots go.
type book struct {
	at      time.Time
	roots   []transparency.Root
	missing []string
	records int
	failure error
}

func (b *book) last(context.Context) (time.Time, []string, error) {
	var tenants []string
	for _, root := range b.roots {
		tenants = append(tenants, root.Tenant)
	}
	return b.at, tenants, nil
}

func (b *book) record(_ context.Context, at time.Time, roots []transparency.Root, missing []string) error {
	if b.failure != nil {
		return b.failure
	}
	b.at, b.roots, b.missing = at, roots, missing
	b.records++
	return nil
}

var _ = Describe("The record of all logs", func() {
	It("is made every hour, names idle logs too, and says which are gone", func(ctx context.Context) {
		p := newPlace(ctx)
		pool, err := p.db.Pool(context.WithoutCancel(ctx), "archon_worker", 4)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(pool.Close)
		b := &book{}
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		since, tenants := now.Add(-time.Minute), []string{}
		none := func(context.Context) ([]string, error) { return nil, nil }
		worker := &transparency.Worker{Signer: p.signer, Pool: pool, Unsigned: none, Logger: p.signer.Logger, Roots: &transparency.Roots{
			Tenants: func(context.Context) ([]string, time.Time, error) { return tenants, since, nil }, Last: b.last, Record: b.record,
			Now: func() time.Time { return now },
		}}
		round := func(records int) {
			GinkgoHelper()
			Expect(worker.Round(ctx)).To(Succeed())
			Expect(b.records).To(Equal(records))
		}
		later := func(by time.Duration) { now = now.Add(by) }

		later(time.Hour)
		round(0) // there are no logs
		p.append(ctx, 3)
		idle := p.tenant
		p.tenant += "-busy"
		p.append(ctx, 1)
		busy := p.tenant
		tenants, since = []string{idle, busy}, now
		later(59 * time.Minute)
		round(0)
		later(time.Minute)
		round(1)
		Expect(b.roots).To(HaveLen(2))
		Expect(b.missing).To(BeEmpty())
		first := b.roots
		p.append(ctx, 2)
		later(time.Minute)
		round(1)
		later(time.Hour)
		round(2)
		Expect(b.roots[0]).To(Equal(first[0]), "nothing happened there, and that is recorded")
		Expect(b.roots[1]).To(And(HaveField("Tenant", busy), HaveField("Size", BeEquivalentTo(3)), Not(HaveField("Root", first[1].Root))))

		By("recording a log that contradicts its tree as one without a root")
		p.do(ctx, `update chain_heads set position = 2 where tenant_id = $1`, idle)
		later(time.Hour)
		round(3)
		Expect(b.roots[0]).To(Equal(transparency.Root{Tenant: idle}))

		By("missing a tenant that is gone, loudly")
		errorsBefore := p.logged.errors.Load()
		tenants = []string{busy}
		later(time.Hour)
		b.failure = errors.New("the disk is full")
		Expect(worker.Round(ctx)).To(MatchError(b.failure))
		b.failure = nil
		round(4)
		Expect(b.missing).To(Equal([]string{idle}))
		Expect(p.logged.errors.Load()).To(BeNumerically(">", errorsBefore))
		tenants = nil
		later(time.Hour)
		round(5)
		Expect(b.missing).To(Equal([]string{busy}))
	})
})
