package reactions_test

import (
	"context"
	"encoding/json"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain/alerts"
	"github.com/archonhq/archon/domain/prices"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/projections"
	"github.com/archonhq/archon/reactions"
)

// ninth is an event of acme's, without what it says.
var ninth = projections.Event{Recorded: eventstore.Recorded{Tenant: "acme", Position: 9, Meta: []byte(`{"correlation_id":"c-1"}`)}}

var _ = Describe("Alerts about models without a price", func() {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

	// asked are the jobs that an event at 12:00 asks for: their ids, and when they are due, nil for at once.
	type asked struct {
		ID       any
		Due      *time.Time
		Position int64
		Moment   time.Time
	}
	jobsFor := func(payload eventstore.Typed) []asked {
		GinkgoHelper()
		happened := ninth
		happened.Payload, happened.OccurredAt = payload, at.UnixMicro()
		out := &projections.Statements{}
		Expect(reactions.AlertResolution{}.Project([]projections.Event{happened}, out)).To(Succeed())
		var jobs []asked
		for _, args := range out.All() {
			Expect(args[0]).To(Equal("acme"))
			Expect(args[2]).To(Equal(reactions.ResolveUnpricedTopic))
			job := asked{ID: args[1]}
			job.Due, _ = args[5].(*time.Time)
			encoded, _ := args[3].([]byte)
			handler := reactions.ResolveUnpriced(func(_ context.Context, _ reactions.Job, position int64, moment time.Time) error {
				job.Position, job.Moment = position, moment
				return nil
			})
			Expect(handler(context.Background(), reactions.Job{Payload: json.RawMessage(encoded)})).To(Succeed())
			Expect(job.Position).To(BeEquivalentTo(9))
			jobs = append(jobs, job)
		}
		return jobs
	}
	override := func(from time.Time) prices.Override {
		return prices.Override{ProviderType: "openai", Model: "m", EffectiveFrom: from}
	}

	It("are looked at when one is raised, since its price may have come first", func() {
		Expect(jobsFor(alerts.Raised{Kind: alerts.UnpricedModel})).To(HaveExactElements(And(HaveField("Due", BeNil()), HaveField("Moment", at))))
		Expect(jobsFor(alerts.Raised{Kind: "another"})).To(BeEmpty())
		Expect(jobsFor(alerts.Resolved{Kind: alerts.UnpricedModel})).To(BeEmpty())
	})

	It("are looked at when prices are set, and again when those set ahead begin to hold", func() {
		soon, later := at.Add(time.Hour), at.Add(24*time.Hour)
		jobs := jobsFor(prices.Overridden{Overrides: []prices.Override{
			override(at), override(at.AddDate(0, -1, 0)), override(soon), override(later), override(soon),
		}})
		Expect(jobs).To(HaveExactElements(
			And(HaveField("Due", BeNil()), HaveField("Moment", at)),
			And(HaveField("Due", HaveValue(Equal(soon))), HaveField("Moment", soon)),
			And(HaveField("Due", HaveValue(Equal(later))), HaveField("Moment", later))))
		ids := map[any]bool{}
		for _, job := range jobs {
			ids[job.ID] = true
		}
		Expect(ids).To(HaveLen(3), "jobs with the same id would be one")
		Expect(jobsFor(prices.Overridden{Overrides: []prices.Override{override(later)}})).To(HaveLen(1), "nothing holds before that")
	})

	It("are not looked at for a job that can't be read", func() {
		handler := reactions.ResolveUnpriced(func(context.Context, reactions.Job, int64, time.Time) error { return nil })
		Expect(handler(context.Background(), reactions.Job{Payload: json.RawMessage(`[`)})).NotTo(Succeed())
	})
})

var _ = Describe("A job for later", Label("postgres"), func() {
	It("waits in the queue until it is due", func(ctx context.Context) {
		db := database()
		worker := pool(db, "archon_worker")
		due := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
		now, err := reactions.NewJob(&ninth, "now", nil)
		Expect(err).NotTo(HaveOccurred())
		later, err := reactions.NewJob(&ninth, "later", nil)
		Expect(err).NotTo(HaveOccurred())
		later.RunAfter = due
		out := &projections.Statements{}
		Expect(now.Enqueue(out)).To(Succeed())
		Expect(later.Enqueue(out)).To(Succeed())
		for sql, args := range out.All() {
			_, err := worker.Exec(ctx, sql, args...)
			Expect(err).NotTo(HaveOccurred())
		}
		jobs := &reactions.Jobs{Pool: pool(db, "archon_app")}
		list, err := jobs.List(ctx, "acme", 0, 10)
		Expect(err).NotTo(HaveOccurred())
		Expect(list).To(HaveExactElements(
			And(HaveField("Topic", "later"), HaveField("RunAfter", BeTemporally("==", due))),
			And(HaveField("Topic", "now"), HaveField("RunAfter", BeTemporally("<", due)))))
	})
})
