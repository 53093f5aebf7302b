package reactions_test

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/projections"
	"github.com/archonhq/archon/reactions"
)

var _ = Describe("A router that is going down", Label("postgres"), func() {
	const topic = "test.drain"

	It("lets the job in hand finish, settles it, and takes no other", func(ctx context.Context) {
		db := database()
		worker := pool(db, "archon_worker")
		jobs := &reactions.Jobs{Pool: pool(db, "archon_app")}
		for position := range int64(3) {
			job, err := reactions.NewJob(&projections.Event{Recorded: eventstore.Recorded{Tenant: "acme", Position: position, EventID: uuid.New()}}, topic, "x")
			Expect(err).NotTo(HaveOccurred())
			out := &projections.Statements{}
			Expect(job.Enqueue(out)).To(Succeed())
			for sql, args := range out.All() {
				_, err := worker.Exec(ctx, sql, args...)
				Expect(err).NotTo(HaveOccurred())
			}
		}
		newRouter := func(handler func(ctx context.Context, job reactions.Job) error) *reactions.Router {
			router, err := reactions.NewRouter(worker, reactions.RouterConfig{
				CloseTimeout: patience, Subscriber: reactions.SubscriberConfig{Poll: 5 * time.Millisecond, Lease: time.Second},
			})
			Expect(err).NotTo(HaveOccurred())
			router.Handle(topic, handler)
			return router
		}
		var begun, interrupted atomic.Int64
		release := make(chan struct{})
		router := newRouter(func(ctx context.Context, _ reactions.Job) error {
			begun.Add(1)
			<-release
			if ctx.Err() != nil {
				interrupted.Add(1)
			}
			return ctx.Err()
		})
		running, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- router.Run(running) }()
		Eventually(begun.Load).WithTimeout(patience).Should(BeEquivalentTo(1))
		stop()
		// Longer than a lease: it must be renewed while the router drains.
		Consistently(ended).WithTimeout(1500 * time.Millisecond).ShouldNot(Receive())
		close(release)
		Eventually(ended).WithTimeout(patience).Should(Receive(BeNil()))
		Expect(begun.Load()).To(BeEquivalentTo(1))
		Expect(interrupted.Load()).To(BeZero())
		done, err := jobs.List(ctx, "acme", 0, 10, reactions.Done)
		Expect(err).NotTo(HaveOccurred())
		Expect(done).To(HaveLen(1))
		pending, err := jobs.List(ctx, "acme", 0, 10, reactions.Pending)
		Expect(err).NotTo(HaveOccurred())
		Expect(pending).To(HaveLen(2))
		Expect(pending).To(HaveEach(HaveField("Running", false)))
	})
})
