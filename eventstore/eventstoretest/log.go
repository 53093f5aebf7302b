package eventstoretest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sync/errgroup"

	"github.com/archonhq/archon/eventstore"
)

// Log is what the rest of Archon needs of an event store.
type Log interface {
	Append(ctx context.Context, request eventstore.Append) (eventstore.Result, error)
	Load(ctx context.Context, tenant, stream string, after int64) ([]eventstore.Recorded, error)
	Read(ctx context.Context, tenant string, after int64, limit int) ([]eventstore.Recorded, error)
	Head(ctx context.Context, tenant string) (eventstore.Head, error)
	Recall(ctx context.Context, tenant string, commandID uuid.UUID) (eventstore.Remembered, bool, error)
	Memorize(ctx context.Context, tenant string, commandID uuid.UUID, fingerprint, answer []byte) (eventstore.Remembered, bool, error)
	Close(ctx context.Context) error
}

// Open makes a log for one spec, which closes it. Logs that were opened by one Open share their events. A log that has no use
// for a field of config ignores it, but for Now.
type Open func(ctx context.Context, config eventstore.Config) Log

// bound is for what takes well under a second on an idle machine.
const bound = 30 * time.Second

// Conform registers the specs under a name.
func Conform(name string, open Open) bool {
	return Describe(name, func() {
		expectations(open)
		recording(open)
		reading(open)
		idempotency(open)
		concurrency(open)
		input(open)
		clocks(open)
		closing(open)
	})
}

// fixture is a log, a tenant that nobody else uses, and short ways to say what specs say often.
type fixture struct {
	Log
	tenant string
	clock  *clock
}

// with sets a fixture up before each spec of the container it is called in.
func with(open Open) *fixture {
	f := &fixture{}
	BeforeEach(func(ctx context.Context) {
		f.clock = &clock{now: time.Now()}
		f.tenant = "t-" + uuid.NewString()
		f.Log = open(ctx, eventstore.Config{Now: f.clock.Now})
		log := f.Log
		DeferCleanup(func(ctx context.Context) {
			ctx, cancel := context.WithTimeout(ctx, bound)
			defer cancel()
			Expect(log.Close(ctx)).To(Succeed())
		})
	})
	return f
}

// clock is a node's clock that a spec may set.
type clock struct {
	lock sync.Mutex
	now  time.Time
}

func (c *clock) Now() time.Time {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.now = c.now.Add(d)
}

// expect is the expectation on one stream.
func expect(stream string, version int64) map[string]int64 { return map[string]int64{stream: version} }

// events are one event for each of streams.
func events(streams ...string) []eventstore.NewEvent {
	var made []eventstore.NewEvent
	for i, stream := range streams {
		made = append(made, eventstore.NewEvent{Stream: stream, Type: "test.happened.v1", Data: fmt.Appendf(nil, `{"n":%d}`, i)})
	}
	return made
}

// append appends for the fixture's tenant, which must succeed.
func (f *fixture) append(ctx context.Context, request eventstore.Append) eventstore.Result {
	GinkgoHelper()
	request.Tenant = f.tenant
	result, err := f.Append(ctx, request)
	Expect(err).NotTo(HaveOccurred())
	return result
}

// refused appends for the fixture's tenant, which must fail.
func (f *fixture) refused(ctx context.Context, request eventstore.Append) error {
	GinkgoHelper()
	request.Tenant = f.tenant
	before, err := f.Head(ctx, f.tenant)
	Expect(err).NotTo(HaveOccurred())
	result, err := f.Append(ctx, request)
	Expect(err).To(HaveOccurred())
	Expect(result).To(BeZero())
	Expect(f.Head(ctx, f.tenant)).To(Equal(before), "a refused append moves nothing")
	return err
}

// all is the tenant's whole chain, which must be intact.
func (f *fixture) all(ctx context.Context, tenant string) []eventstore.Recorded {
	GinkgoHelper()
	const page = 1000
	var chain []eventstore.Recorded
	for {
		next, err := f.Read(ctx, tenant, int64(len(chain)), page)
		Expect(err).NotTo(HaveOccurred())
		chain = append(chain, next...)
		if len(next) < page {
			break
		}
	}
	expectIntact(tenant, chain)
	head, err := f.Head(ctx, tenant)
	Expect(err).NotTo(HaveOccurred())
	Expect(head.Position).To(BeEquivalentTo(len(chain)))
	if len(chain) > 0 {
		Expect(head.Hash).To(Equal(chain[len(chain)-1].Hash))
		Expect(head.OccurredAt).To(Equal(chain[len(chain)-1].OccurredAt))
	}
	return chain
}

// expectIntact checks what makes a chain: positions without gaps, versions without gaps in each stream, hashes, links, times.
func expectIntact(tenant string, chain []eventstore.Recorded) {
	GinkgoHelper()
	prev, at := eventstore.Genesis(tenant), int64(0)
	versions, ids := map[string]int64{}, map[uuid.UUID]bool{}
	for i := range chain {
		e := &chain[i]
		versions[e.Stream]++
		sum := eventstore.Hash(e)
		switch {
		case e.Tenant != tenant, e.Position != int64(i)+1, e.Version != versions[e.Stream], e.OccurredAt < at,
			string(e.PrevHash) != string(prev), string(e.Hash) != string(sum[:]), ids[e.EventID]:
			Fail(fmt.Sprintf("event %d does not continue the chain: %+v", i, e))
		}
		prev, at, ids[e.EventID] = e.Hash, e.OccurredAt, true
	}
}

// together runs n functions at once and returns the first error of those that nobody expected.
func together(n int, work func(i int) error) {
	GinkgoHelper()
	var group errgroup.Group
	for i := range n {
		group.Go(func() error { return work(i) })
	}
	Expect(group.Wait()).To(Succeed())
}
