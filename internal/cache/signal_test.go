package cache_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"

	"github.com/archonhq/archon/internal/cache"
	"github.com/archonhq/archon/internal/pgembed/loopback"
)

// node is a bus with what it heard.
type node struct {
	*cache.Bus
	mu    sync.Mutex
	heard []string
}

func (n *node) note(tenant string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.heard = append(n.heard, tenant)
}

func (n *node) all() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.heard)
}

// newNode starts a bus that listens; it returns when the server knows of its subscription.
func newNode(ctx context.Context, client *redis.Client) *node {
	GinkgoHelper()
	n := &node{Bus: cache.NewBus(client, nil)}
	DeferCleanup(n.Close)
	before := subscribers(ctx, client)
	listening, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		n.Subscribe(listening, n.note)
	}()
	DeferCleanup(func() {
		cancel()
		Eventually(ended).Should(BeClosed())
	})
	Eventually(subscribers).WithArguments(ctx, client).Should(Equal(before + 1))
	return n
}

func subscribers(ctx context.Context, client *redis.Client) int64 {
	return client.PubSubNumSub(ctx, cache.Channel).Val()[cache.Channel]
}

var _ = Describe("the bus", func() {
	for _, kind := range []string{cache.KindServer, cache.KindInProcess} {
		Context("over "+kind, func() {
			var one, two *node
			BeforeEach(func(ctx SpecContext) {
				if kind == cache.KindInProcess {
					GinkgoT().Setenv("PATH", GinkgoT().TempDir())
				}
				first := open(ctx, cache.Config{DataDir: GinkgoT().TempDir()})
				Expect(first.Kind()).To(Equal(kind))
				second := open(ctx, cache.Config{URL: urlOf(first)})
				one, two = newNode(ctx, first.Client()), newNode(ctx, second.Client())
			})

			It("wakes the other node and not itself", func(ctx SpecContext) {
				one.Publish(ctx, "tenant-a")
				Eventually(two.all).Should(Equal([]string{"tenant-a"}))
				two.Publish(ctx, "tenant \n\"b\"")
				Eventually(one.all).Should(Equal([]string{"tenant \n\"b\""}))
				Expect(two.all()).To(Equal([]string{"tenant-a"}))
			})
		})
	}

	It("sends at most one message every two milliseconds, and loses no tenant", func(ctx SpecContext) {
		c := open(ctx, cache.Config{DataDir: GinkgoT().TempDir()})
		bus := cache.NewBus(c.Client(), nil)
		DeferCleanup(bus.Close)
		listener := newNode(ctx, c.Client())
		before := published(ctx, c.Client())
		begun := time.Now()
		const rounds, tenants = 2000, 50
		for range rounds {
			for i := range tenants {
				bus.Publish(ctx, strconv.Itoa(i))
			}
		}
		Eventually(func() int {
			heard := listener.all()
			slices.Sort(heard)
			return len(slices.Compact(heard))
		}).Should(Equal(tenants))
		took := time.Since(begun)
		sent := published(ctx, c.Client()) - before
		Expect(sent).To(And(BeNumerically(">=", 1), BeNumerically("<=", int(took/(2*time.Millisecond))+2)))
		AddReportEntry("coalescing", fmt.Sprintf("%d reports became %d messages in %v", rounds*tenants, sent, took))
	})

	It("never blocks the publisher, also when Redis hangs", func(ctx SpecContext) {
		var config net.ListenConfig
		silent, err := config.Listen(ctx, "tcp", loopback.Addr(0))
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(silent.Close)
		c := open(ctx, cache.Config{URL: "redis://" + silent.Addr().String()})
		bus := cache.NewBus(c.Client(), nil)
		begun := time.Now()
		for i := range 100_000 { // more than it keeps
			bus.Publish(ctx, strconv.Itoa(i))
		}
		Expect(time.Since(begun)).To(BeNumerically("<", time.Second))
		bus.Close()
		Expect(time.Since(begun)).To(BeNumerically("<", 3*time.Second))
	})

	It("reaches its listeners again after Redis was killed", func(ctx SpecContext) {
		c := open(ctx, cache.Config{DataDir: GinkgoT().TempDir()})
		one, two := newNode(ctx, c.Client()), newNode(ctx, c.Client())
		Expect(syscall.Kill(pidOf(ctx, c), syscall.SIGKILL)).To(Succeed())
		one.Publish(ctx, "lost perhaps")
		Eventually(subscribers).WithArguments(ctx, c.Client()).Should(BeNumerically("==", 2))
		Eventually(func() []string {
			one.Publish(ctx, "after")
			return two.all()
		}).Should(ContainElement("after"))
	})

	It("listens from the moment Redis comes, if it is away at first", func(ctx SpecContext) {
		port := freePort(ctx)
		c := open(ctx, cache.Config{URL: "redis://:secret@" + loopback.Addr(port)})
		n := &node{Bus: cache.NewBus(c.Client(), nil)}
		DeferCleanup(n.Close)
		listening, cancel := context.WithCancel(ctx)
		DeferCleanup(cancel)
		go n.Subscribe(listening, n.note)
		startRedis(ctx, port, "secret")
		sender := cache.NewBus(c.Client(), nil)
		DeferCleanup(sender.Close)
		Eventually(func() []string {
			sender.Publish(ctx, "late")
			return n.all()
		}).Should(ContainElement("late"))
	})

	It("passes over what is not its own kind of message", func(ctx SpecContext) {
		c := open(ctx, cache.Config{DataDir: GinkgoT().TempDir()})
		n := newNode(ctx, c.Client())
		for _, garbage := range []string{"", "nonsense", "[]", `{"node":7}`} {
			Expect(c.Client().Publish(ctx, cache.Channel, garbage).Err()).To(Succeed())
		}
		Expect(c.Client().Publish(ctx, cache.Channel, `{"node":"other","tenants":["real"]}`).Err()).To(Succeed())
		Eventually(n.all).Should(Equal([]string{"real"}))
	})

	DescribeTable("ends its subscription", func(ctx SpecContext, end func(cancel context.CancelFunc, c *cache.Cache)) {
		c := open(ctx, cache.Config{DataDir: GinkgoT().TempDir()})
		bus := cache.NewBus(c.Client(), nil)
		DeferCleanup(bus.Close)
		listening, cancel := context.WithCancel(ctx)
		DeferCleanup(cancel)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			bus.Subscribe(listening, func(string) {})
		}()
		Eventually(subscribers).WithArguments(ctx, c.Client()).Should(BeNumerically("==", 1))
		end(cancel, c)
		Eventually(ended, 5*time.Second).Should(BeClosed())
	},
		Entry("with its context", func(cancel context.CancelFunc, _ *cache.Cache) { cancel() }),
		Entry("with its client", func(_ context.CancelFunc, c *cache.Cache) { Expect(c.Close()).To(Succeed()) }),
	)
})

// published counts the PUBLISH calls a server has seen.
func published(ctx context.Context, client *redis.Client) int {
	GinkgoHelper()
	info, err := client.InfoMap(ctx, "commandstats").Result()
	Expect(err).NotTo(HaveOccurred())
	var calls int
	if stat, ok := info["Commandstats"]["cmdstat_publish"]; ok {
		_, err = fmt.Sscanf(stat, "calls=%d,", &calls)
		Expect(err).NotTo(HaveOccurred())
	}
	return calls
}
