package cli_test

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("Archon whose database and Redis come and go", Label("e2e"), Ordered, func() {
	var (
		place  *installation
		nodes  []*archon
		remote *miniredis.Miniredis // the second node's; the first one has its own
		dir    string
		url    string
		admin  string
	)

	BeforeAll(func() {
		url = provider().URL
		remote = miniredis.NewMiniRedis()
		Expect(remote.Start()).To(Succeed())
		DeferCleanup(remote.Close)
		place = install(loopbackAllowed)
		nodes = []*archon{place.start(), place.beside("ARCHON_REDIS_URL=redis://" + remote.Addr()).start("serve")}
		admin = place.token("acme", "ada", "admin")
		dir = place.cluster()
	})

	// some is how many writes are acknowledged between two faults.
	const some = 20

	// wellAgain waits until all nodes are, by themselves.
	wellAgain := func() {
		GinkgoHelper()
		for _, node := range nodes {
			Eventually(node.stateOfHealth("database")).WithTimeout(bound).Should(Equal("ok, database ok"))
		}
	}

	DescribeTable("never answers a request with a lie or a 500 while", func(disturb func(w *witness)) {
		before := ownerURL(place)
		w := &witness{nodes: nodes, admin: admin, url: url}
		w.during(func() { disturb(w) })
		AddReportEntry("answers", fmt.Sprintf("%d acknowledged, %d of them after 503; %d refused for good; %d unknown at first; %d reads, %d of them 503",
			len(w.acknowledged), w.repeated, len(w.refused), w.unknown, w.reads, w.readsRefused))
		wellAgain()
		Expect(ownerURL(place)).To(Equal(before), "it is where it was")

		registered := map[string]int{}
		events := place.log("acme")
		for _, event := range events {
			if event.Type == "provider.registered.v1" {
				registered[*event.Name]++
			}
		}
		for _, name := range w.acknowledged {
			Expect(registered[name]).To(Equal(1), "acknowledged once")
		}
		for _, name := range w.refused {
			Expect(registered).NotTo(HaveKey(name), "it was said that nothing was changed")
		}
		for _, node := range nodes {
			Expect(names(node.listAll(admin, int64(len(events))))).To(ContainElements(w.acknowledged))
		}
		Expect(place.log("acme")).To(HaveLen(len(events)))
		place.expectVerified("acme")
	},
		Entry("its connections are cut", func(w *witness) {
			const cuts = 20
			asOwner(place, func(ctx context.Context, conn *pgx.Conn) {
				for range cuts {
					w.goOn(some)
					Eventually(func(g Gomega) { // what was acknowledged last may have been committed before the last cut
						var count int
						g.Expect(conn.QueryRow(ctx, `select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'archon'`).Scan(&count)).To(Succeed())
						g.Expect(count).To(BeNumerically(">", 0))
					}).WithTimeout(bound).WithPolling(time.Millisecond).Should(Succeed())
				}
			})
			w.goOn(some)
		}),
		Entry("PostgreSQL is restarted", func(w *witness) {
			w.goOn(some)
			Expect(syscall.Kill(postmasterIn(dir), syscall.SIGINT)).To(Succeed())
			w.goOn(some)
		}),
		Entry("PostgreSQL is killed, and killed again before it is well", func(w *witness) {
			w.goOn(some)
			Eventually(func() string {
				_ = syscall.Kill(postmasterIn(dir), syscall.SIGKILL) // which may not be back yet
				r := nodes[0].must(http.MethodGet, "/health", "", nil)
				if r.status == http.StatusServiceUnavailable {
					Expect(r.header.Get("Retry-After")).NotTo(BeEmpty())
				}
				return r.report().Components["database"].Status
			}).WithTimeout(bound).WithPolling(50 * time.Millisecond).Should(Equal("unavailable"))
			Expect(nodes[0].must(http.MethodGet, "/health/live", "", nil).status).To(Equal(http.StatusOK), "it is not Archon that has to be restarted")
			wellAgain()
			w.goOn(some)
		}),
	)

	It("goes on without Redis, says so, and finds it again", func() {
		second := nodes[1]
		remote.Close()
		Eventually(second.stateOfHealth("redis")).WithTimeout(bound).Should(Equal("degraded, redis unavailable"))
		Expect(second.must(http.MethodGet, "/health", "", nil).status).To(Equal(http.StatusOK), "it serves")
		for _, node := range nodes {
			name := uuid.NewString()
			written := node.must(http.MethodPost, providersPath, admin, body(name, url))
			Expect(written.status).To(Equal(http.StatusCreated), written.body)
			Expect(written.header).NotTo(HaveKey("X-Projection-Lag"))
			for _, reader := range nodes {
				Expect(names(reader.listAll(admin, written.eventPosition()))).To(ContainElement(name))
			}
		}
		Expect(remote.Restart()).To(Succeed())
		Eventually(second.stateOfHealth("redis")).WithTimeout(bound).Should(Equal("ok, redis ok"))
	})

	It("starts its own Redis again", func() {
		if _, err := exec.LookPath("redis-server"); err != nil {
			AddReportEntry("embedded Redis", "in process: there is no redis-server on PATH, so there is nothing to kill")
			return
		}
		AddReportEntry("embedded Redis", "redis-server of the machine, killed")
		first := nodes[0]
		before := childOf(first.cmd.Process.Pid, "redis-server")
		Expect(before).NotTo(BeZero())
		Expect(syscall.Kill(before, syscall.SIGKILL)).To(Succeed())
		written := first.must(http.MethodPost, providersPath, admin, body(uuid.NewString(), url))
		Expect(written.status).To(Equal(http.StatusCreated), written.body)
		Eventually(func() int { return childOf(first.cmd.Process.Pid, "redis-server") }).WithTimeout(bound).Should(And(Not(BeZero()), Not(Equal(before))))
		Eventually(first.stateOfHealth("redis")).WithTimeout(bound).Should(Equal("ok, redis ok"))
	})
})

// witness is clients that write down what they were told.
type witness struct {
	nodes      []*archon
	admin, url string

	mu           sync.Mutex
	acknowledged []string
	// refused are names whose registration was answered with 503 and not tried again.
	refused                                []string
	repeated, unknown, reads, readsRefused int
}

// during has clients write and read until act returns, and until each of them has heard what became of its last write.
func (w *witness) during(act func()) {
	GinkgoHelper()
	stop := make(chan struct{})
	var running sync.WaitGroup
	const clients = 32
	for client := range clients {
		running.Go(func() {
			defer GinkgoRecover()
			for turn := 0; ; turn++ {
				select {
				case <-stop:
					return
				default:
				}
				node := w.nodes[(client+turn)%len(w.nodes)]
				w.write(node, turn%2 == 0)
				w.read(node)
			}
		})
	}
	defer running.Wait() // also where act has failed: nobody may be left who takes other specs for this one
	defer close(stop)
	act()
}

// goOn waits until so many writes more have been acknowledged.
func (w *witness) goOn(more int) {
	GinkgoHelper()
	count := func() int {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.acknowledged)
	}
	before := count()
	Eventually(count).WithTimeout(bound).WithPolling(time.Millisecond).Should(BeNumerically(">=", before+more))
}

// write registers a provider. What was refused is tried again under the same key where the client is stubborn, and always
// where the answer leaves open what happened.
func (w *witness) write(node *archon, stubborn bool) {
	name, key := uuid.NewString(), keyed()
	var unknown, refused bool
	Eventually(func(g Gomega) {
		r, err := node.call(http.MethodPost, providersPath, w.admin, body(name, w.url), key)
		g.Expect(err).NotTo(HaveOccurred())
		if r.status == http.StatusServiceUnavailable {
			Expect(r.header.Get("Retry-After")).NotTo(BeEmpty(), r.body)
			Expect(r.code()).To(Or(Equal("unavailable"), Equal("outcome_unknown")))
			refused = true
			unknown = unknown || r.code() == "outcome_unknown"
			g.Expect(stubborn || unknown).To(BeFalse(), "try again")
			return
		}
		Expect(r.status).To(Equal(http.StatusCreated), r.body)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.acknowledged = append(w.acknowledged, name)
		if refused {
			w.repeated++
		}
		refused = false
	}).WithTimeout(bound).WithPolling(20 * time.Millisecond).Should(Succeed())
	w.mu.Lock()
	defer w.mu.Unlock()
	if refused {
		w.refused = append(w.refused, name)
	}
	if unknown {
		w.unknown++
	}
}

func (w *witness) read(node *archon) {
	r, err := node.call(http.MethodGet, providersPath+"?limit=1", w.admin, nil)
	Expect(err).NotTo(HaveOccurred())
	Expect(r.status).To(Or(Equal(http.StatusOK), Equal(http.StatusServiceUnavailable)), r.body)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reads++
	if r.status == http.StatusServiceUnavailable {
		Expect(r.header.Get("Retry-After")).NotTo(BeEmpty())
		w.readsRefused++
	}
}
