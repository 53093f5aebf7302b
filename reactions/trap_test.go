package reactions_test

import (
	"context"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/reactions"
)

// The trap in watermill-sql v4.0.0: with a batch of more than one, closing the subscriber after a part of the batch
// acknowledges all of it.
var _ = Describe("Closing a subscriber in the middle of its work", Label("postgres"), func() {
	const topic, published, handled = "trap", 10, 3

	// take handles some messages and then closes.
	take := func(subscriber message.Subscriber) {
		GinkgoHelper()
		messages, err := subscriber.Subscribe(context.Background(), topic)
		Expect(err).NotTo(HaveOccurred())
		for range handled {
			var m *message.Message
			Eventually(messages).WithTimeout(20 * time.Second).Should(Receive(&m))
			m.Ack()
		}
		Eventually(messages).WithTimeout(20 * time.Second).Should(Receive()) // one more is in hand, and never acknowledged
		Expect(subscriber.Close()).To(Succeed())
	}
	publish := func(publisher message.Publisher) {
		GinkgoHelper()
		for i := range published {
			m := message.NewMessage(watermill.NewUUID(), []byte(strconv.Itoa(i)))
			m.Metadata.Set("tenant_id", "acme")
			Expect(publisher.Publish(topic, m)).To(Succeed())
		}
	}

	// stock is how many jobs the library's own queue has acknowledged after that.
	stock := func(batch int) int {
		GinkgoHelper()
		db := database()
		ctx := context.Background()
		owner := pool(db, "archon_worker")
		schema := sql.PostgreSQLQueueSchema{SubscribeBatchSize: batch, GeneratePayloadType: func(string) string { return "bytea" }}
		admin := ownerPool(db)
		queries, err := schema.SchemaInitializingQueries(sql.SchemaInitializingQueriesParams{Topic: topic})
		Expect(err).NotTo(HaveOccurred())
		for _, q := range queries {
			_, err := admin.Exec(ctx, q.Query)
			Expect(err).NotTo(HaveOccurred())
		}
		_, err = admin.Exec(ctx, `grant all on watermill_trap to archon_worker; grant all on all sequences in schema public to archon_worker`)
		Expect(err).NotTo(HaveOccurred())
		beginner := sql.BeginnerFromPgx(owner)
		publisher, err := sql.NewPublisher(beginner, sql.PublisherConfig{SchemaAdapter: schema}, watermill.NopLogger{})
		Expect(err).NotTo(HaveOccurred())
		publish(publisher)
		subscriber, err := sql.NewSubscriber(beginner, sql.SubscriberConfig{
			SchemaAdapter: schema, OffsetsAdapter: sql.PostgreSQLQueueOffsetsAdapter{}, PollInterval: 10 * time.Millisecond,
		}, watermill.NopLogger{})
		Expect(err).NotTo(HaveOccurred())
		take(subscriber)
		var acknowledged int
		Expect(admin.QueryRow(ctx, `select count(*) from watermill_trap where acked`).Scan(&acknowledged)).To(Succeed())
		return acknowledged
	}

	It("loses jobs with the library's queue and a batch of ten: this is why we do not use it", func() {
		Expect(stock(published)).To(BeNumerically(">", handled), "the trap is mended upstream; see the package comment of reactions")
	})

	It("loses none with the library's queue and a batch of one", func() {
		Expect(stock(1)).To(Equal(handled))
	})

	It("loses none with ours", func() {
		db := database()
		worker := pool(db, "archon_worker")
		publisher, err := reactions.NewPublisher(worker, watermill.NopLogger{})
		Expect(err).NotTo(HaveOccurred())
		publish(publisher)
		take(reactions.NewSubscriber(worker, reactions.SubscriberConfig{Poll: 10 * time.Millisecond, Drain: 50 * time.Millisecond}))
		var done, free int
		Expect(worker.QueryRow(context.Background(), `select count(*) filter (where status = 'done'),
			count(*) filter (where status = 'pending' and lock_token is null) from jobs`).Scan(&done, &free)).To(Succeed())
		Expect(done).To(Equal(handled))
		Expect(free).To(Equal(published-handled), "the one in hand was given back at once")
	})
})
