package reactions_test

import (
	"context"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"

	"github.com/archonhq/archon/internal/testdb"
	"github.com/archonhq/archon/reactions"
)

// TestPubSub runs watermill's own suite on our queue.
func TestPubSub(t *testing.T) {
	ctx := context.Background()
	server, err := testdb.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	db, err := server.Create(ctx)
	if err != nil {
		t.Fatal(err)
	}
	worker, err := db.Pool(ctx, "archon_worker", 60)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(worker.Close)
	tests.TestPubSub(t, tests.Features{
		Persistent: true, ExactlyOnceDelivery: false, GuaranteedOrder: true, GuaranteedOrderWithSingleSubscriber: true, ForceShort: true,
	}, func(t *testing.T) (message.Publisher, message.Subscriber) {
		t.Helper()
		publisher, err := reactions.NewPublisher(worker, watermill.NopLogger{})
		if err != nil {
			t.Fatal(err)
		}
		return tenanted{publisher}, reactions.NewSubscriber(worker, reactions.SubscriberConfig{Poll: 5 * time.Millisecond, Lease: 5 * time.Second, Drain: 50 * time.Millisecond})
	}, nil)
}

// tenanted gives the suite's messages the tenant that ours always have.
type tenanted struct{ message.Publisher }

func (p tenanted) Publish(topic string, messages ...*message.Message) error {
	for _, m := range messages {
		m.Metadata.Set("tenant_id", "acme")
	}
	return p.Publisher.Publish(topic, messages...) //nolint:wrapcheck // a test
}
