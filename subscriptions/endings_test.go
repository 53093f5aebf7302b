package subscriptions_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/subscriptions"
)

// measured is the value of a metric of a registry, 0 where there is none.
func measured(registry *prometheus.Registry, name, code string) float64 {
	GinkgoHelper()
	families, err := registry.Gather()
	Expect(err).NotTo(HaveOccurred())
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if family.GetName() == name && (code == "" || metric.GetLabel()[0].GetValue() == code) {
				return metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
			}
		}
	}
	return 0
}

var _ = Describe("A socket's end", func() {
	It("is 4008 with the position to go on after for a client that takes nothing, and holds nobody else up", func(ctx context.Context) {
		registry := prometheus.NewRegistry()
		n, tenant := start(subscriptions.Config{SlowAfter: time.Second, Metrics: registry}), newTenant()
		slow, _, err := n.dial(ctx, dialled{token: "auditor." + tenant, query: "after=0", window: 4 << 10})
		Expect(err).NotTo(HaveOccurred())
		quick := n.subscribe(ctx, "auditor."+tenant, "after=0")
		writing(func() {
			for range 40 {
				write(ctx, tenant, 10, 4<<10)
			}
		})
		Expect(positionsOf(quick.events(ctx, 400))).To(Equal(upTo(1, 400)), "while the slow one takes nothing")
		Eventually(func() float64 { return measured(registry, "archon_sockets_ended_total", "4008") }).WithTimeout(bound).Should(BeEquivalentTo(1))
		write(ctx, tenant, 5, 10)
		Expect(positionsOf(quick.events(ctx, 5))).To(Equal(upTo(401, 405)))

		By("being told however late the client reads")
		events, code, position := slow.ended(ctx)
		Expect(code).To(BeEquivalentTo(4008))
		Expect(events).NotTo(BeEmpty())
		Expect(positionsOf(events)).To(Equal(upTo(1, position)), "everything up to the position has arrived")
		Expect(position).To(BeNumerically("<", 400))
		again := n.subscribe(ctx, "auditor."+tenant, fmt.Sprint("after=", position))
		Expect(positionsOf(again.events(ctx, int(405-position)))).To(Equal(upTo(position+1, 405)))
	})

	It("is not brought about by a burst that a client takes at its pace", func(ctx context.Context) {
		registry := prometheus.NewRegistry()
		n, tenant := start(subscriptions.Config{Metrics: registry}), newTenant()
		c := n.subscribe(ctx, "auditor."+tenant, "after=0")
		writing(func() {
			for range 20 {
				write(ctx, tenant, 1000, 100)
			}
		})
		Expect(positionsOf(c.events(ctx, 20_000))).To(Equal(upTo(1, 20_000)))
		Expect(measured(registry, "archon_socket_events_total", "")).To(BeEquivalentTo(20_000))
	})

	It("is 1001 with the position at a shutdown, after which there are no new ones", func(ctx context.Context) {
		n, tenant := start(subscriptions.Config{}), newTenant()
		write(ctx, tenant, 9, 10)
		live, behind := n.subscribe(ctx, "viewer."+tenant, "after=4"), n.subscribe(ctx, "viewer."+tenant, "after=0&streams=a-1")
		Expect(positionsOf(live.events(ctx, 5))).To(Equal(upTo(5, 9)))
		behind.events(ctx, 3)
		closed := make(chan error, 1)
		go func() { closed <- n.Close(ctx) }()
		for _, c := range []*client{live, behind} {
			_, code, position := c.ended(ctx)
			Expect(code).To(Equal(websocket.StatusGoingAway))
			Expect(position).To(BeEquivalentTo(9))
		}
		Eventually(closed).WithTimeout(bound).Should(Receive(BeNil()))
		_, response, err := n.dial(ctx, dialled{token: "viewer." + tenant})
		Expect(err).To(HaveOccurred())
		Expect(response.StatusCode).To(Equal(503))
	})

	It("is brought about by force at a shutdown where a client does not answer", func(ctx context.Context) {
		n, tenant := start(subscriptions.Config{}), newTenant()
		write(ctx, tenant, 600, 4<<10)
		_, _, err := n.dial(ctx, dialled{token: "auditor." + tenant, query: "after=0", window: 4 << 10})
		Expect(err).NotTo(HaveOccurred())
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		Expect(n.Close(short)).To(MatchError(ContainSubstring("close the sockets")))
	})

	It("is 4401 with the position when the token expires", func(ctx context.Context) {
		n, tenant := start(subscriptions.Config{Verifier: verifier{expiresAt: time.Now().Add(300 * time.Millisecond)}}), newTenant()
		write(ctx, tenant, 3, 10)
		c := n.subscribe(ctx, "viewer."+tenant, "after=0")
		events, code, position := c.ended(ctx)
		Expect(code).To(BeEquivalentTo(4401))
		Expect(positionsOf(events)).To(Equal(upTo(1, position)))
	})

	It("comes when the client goes, and frees its place", func(ctx context.Context) {
		registry := prometheus.NewRegistry()
		n, tenant := start(subscriptions.Config{PerTenant: 1, Metrics: registry}), newTenant()
		for range 5 {
			c := n.subscribe(ctx, "viewer."+tenant, "")
			Eventually(func() float64 { return measured(registry, "archon_sockets_open", "") }).WithTimeout(bound).Should(BeEquivalentTo(1))
			_ = c.CloseNow()
			Eventually(func() float64 { return measured(registry, "archon_sockets_open", "") }).WithTimeout(bound).Should(BeZero())
			Eventually(func() error {
				again, _, err := n.dial(ctx, dialled{token: "viewer." + tenant})
				if err != nil {
					return err
				}
				return again.Close(websocket.StatusNormalClosure, "")
			}).WithTimeout(bound).Should(Succeed())
			Eventually(func() float64 { return measured(registry, "archon_sockets_open", "") }).WithTimeout(bound).Should(BeZero())
		}
	})

	It("comes when a client does not answer heartbeats", func(ctx context.Context) {
		registry := prometheus.NewRegistry()
		n, tenant := start(subscriptions.Config{Heartbeat: 50 * time.Millisecond, Metrics: registry}), newTenant()
		_ = n.subscribe(ctx, "viewer."+tenant, "") // pongs are sent by reading, which nobody does
		Eventually(func() float64 { return measured(registry, "archon_sockets_ended_total", "1006") }).WithTimeout(bound).Should(BeEquivalentTo(1))

		By("and not for one that does")
		n = start(subscriptions.Config{Heartbeat: time.Second, Positions: 50 * time.Millisecond})
		alive := n.subscribe(ctx, "viewer."+tenant, "")
		for range 50 {
			_, err := alive.next(ctx)
			Expect(err).NotTo(HaveOccurred())
		}
	})

	DescribeTable(
		"is a policy violation or the protocol's own for what is no ping",
		func(ctx context.Context, kind websocket.MessageType, text string, code websocket.StatusCode) {
			n, tenant := start(subscriptions.Config{}), newTenant()
			c := n.subscribe(ctx, "viewer."+tenant, "after=0")
			Expect(c.Write(ctx, kind, []byte(text))).To(Succeed())
			_, err := c.next(ctx)
			Expect(websocket.CloseStatus(err)).To(Equal(code), "%v", err)
			if code == websocket.StatusPolicyViolation {
				Expect(err).To(MatchError(ContainSubstring("ping")))
			}
			n.subscribe(ctx, "viewer."+tenant, "after=0")
		},
		Entry("another type", websocket.MessageText, `{"type":"subscribe"}`, websocket.StatusPolicyViolation),
		Entry("no JSON", websocket.MessageText, `ping`, websocket.StatusPolicyViolation),
		Entry("nothing", websocket.MessageText, ``, websocket.StatusPolicyViolation),
		Entry("a list", websocket.MessageText, `[{"type":"ping"}]`, websocket.StatusPolicyViolation),
		Entry("broken text", websocket.MessageText, "\xff", websocket.StatusPolicyViolation),
		Entry("binary", websocket.MessageBinary, `{"type":"ping"}`, websocket.StatusPolicyViolation),
		Entry("too much", websocket.MessageText, strings.Repeat(" ", 2000)+`{"type":"ping"}`, websocket.StatusMessageTooBig),
	)

	It("comes for a client that sends a flood", func(ctx context.Context) {
		n, tenant := start(subscriptions.Config{}), newTenant()
		c := n.subscribe(ctx, "viewer."+tenant, "after=0")
		pongs := 0
		go func() {
			var err error
			for err == nil {
				err = c.Write(ctx, websocket.MessageText, []byte(`{"type":"ping"}`))
			}
		}()
		for {
			read, err := c.next(ctx)
			if err != nil {
				break
			}
			Expect(read.Type).To(Equal("pong"))
			pongs++
		}
		Expect(pongs).To(BeNumerically("<", 100))
	})
})

// flaky is a log that fails when it is told to, and counts.
type flaky struct {
	*eventstore.Store
	away  atomic.Bool
	reads atomic.Int64
}

func (f *flaky) Select(ctx context.Context, tenant string, selection eventstore.Selection) (eventstore.Selected, error) {
	f.reads.Add(1)
	selected, err := f.Store.Select(ctx, tenant, selection)
	if f.away.Load() { // also where it went away while somebody read
		return eventstore.Selected{}, errors.New("the database is away")
	}
	return selected, err //nolint:wrapcheck // a test
}

var _ = Describe("A database that is away", func() {
	It("ends no socket, and costs no event", func(ctx context.Context) {
		log := &flaky{Store: store}
		n, tenant := start(subscriptions.Config{Log: log, Positions: 10 * time.Millisecond}), newTenant()
		write(ctx, tenant, 10, 10)
		live := n.subscribe(ctx, "viewer."+tenant, "after=0")
		live.events(ctx, 10)
		log.away.Store(true)
		behind := n.subscribe(ctx, "viewer."+tenant, "after=0")
		write(ctx, tenant, 10, 10)
		for _, c := range []*client{live, behind} {
			for range 3 {
				read, err := c.next(ctx)
				Expect(err).NotTo(HaveOccurred())
				Expect(read.Type).To(Equal("position"), "it is still there")
			}
		}
		log.away.Store(false)
		Expect(positionsOf(live.events(ctx, 10))).To(Equal(upTo(11, 20)))
		Expect(positionsOf(behind.events(ctx, 20))).To(Equal(upTo(1, 20)))
	})
})

var _ = Describe("Wake-ups", func() {
	It("bring events at once, and polling brings them where none comes", func(ctx context.Context) {
		woken, polling, tenant := start(subscriptions.Config{Poll: time.Hour}), start(subscriptions.Config{}), newTenant()
		a, b := woken.subscribe(ctx, "viewer."+tenant, "after=0"), polling.subscribe(ctx, "viewer."+tenant, "after=0")
		woken.Wake("nobody")
		for i := range 20 {
			write(ctx, tenant, 1, 10)
			woken.Wake(tenant)
			Expect(a.events(ctx, 1)[0].Position).To(BeEquivalentTo(i + 1))
			Expect(b.events(ctx, 1)[0].Position).To(BeEquivalentTo(i + 1))
		}
	})

	It("read the log once for all sockets at its end, and not at all where there are none", func(ctx context.Context) {
		log := &flaky{Store: store}
		n, tenant := start(subscriptions.Config{Log: log, Poll: time.Hour}), newTenant()
		var clients []*client
		for range 30 {
			c := n.subscribe(ctx, "viewer."+tenant, "")
			_, err := c.next(ctx)
			Expect(err).NotTo(HaveOccurred())
			clients = append(clients, c)
		}
		write(ctx, tenant, 1, 10)
		n.Wake(tenant)
		for _, c := range clients {
			c.events(ctx, 1)
		}
		before := log.reads.Load()
		for range 10 {
			write(ctx, tenant, 1, 10)
			n.Wake(tenant)
			for _, c := range clients {
				c.events(ctx, 1)
			}
		}
		Expect(log.reads.Load() - before).To(BeNumerically("<=", 12))
		for _, c := range clients {
			Expect(c.Close(websocket.StatusNormalClosure, "")).To(Succeed())
		}
		Expect(n.Close(ctx)).To(Succeed())
		before = log.reads.Load()
		n.Wake(tenant)
		Consistently(log.reads.Load).WithTimeout(50 * time.Millisecond).Should(Equal(before))
	})
})
