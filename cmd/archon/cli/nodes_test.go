package cli_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// loopbackAllowed lets providers be on this machine, which `archon serve` does not by itself.
const loopbackAllowed = "ARCHON_PROVIDER_ALLOWED_CIDRS=127.0.0.0/8"

// races is how often a race is run: each has one winner, and a flaw may need a certain order of things to show.
const races = 15

var _ = Describe("Several nodes on one database", Label("e2e"), Ordered, func() {
	var (
		place *installation
		nodes []*archon
		url   string
		admin string
	)

	BeforeAll(func() {
		upstream := provider()
		url = upstream.URL
		place = install()
		nodes = []*archon{place.start()}
		nodes = append(nodes, place.beside(loopbackAllowed).start("serve"))
		stdout, stderr, code := place.run("dsn")
		Expect(code).To(Equal(0), stderr)
		nodes = append(nodes, place.beside(loopbackAllowed, "ARCHON_DATABASE_URL="+strings.TrimSpace(stdout)).start("serve"))
		admin = place.token("acme", "ada", "admin")
	})

	// register registers a provider at the first node.
	register := func() (id string, position int64) {
		GinkgoHelper()
		r := nodes[0].must(http.MethodPost, providersPath, admin, body(uuid.NewString(), url))
		Expect(r.status).To(Equal(http.StatusCreated), r.body)
		id, _ = r.data()["id"].(string)
		return id, r.eventPosition()
	}

	// everywhere sends a request to all nodes at once.
	everywhere := func(send func(node *archon) reply) []reply {
		GinkgoHelper()
		replies := make([]reply, len(nodes))
		atOnce(len(nodes), func(index int) { replies[index] = send(nodes[index]) })
		return replies
	}

	It("shows on one node what was written on another", func() {
		for round := range races {
			name := uuid.NewString()
			written := nodes[round%len(nodes)].must(http.MethodPost, providersPath, admin, body(name, url))
			Expect(written.status).To(Equal(http.StatusCreated), written.body)
			for _, node := range nodes {
				Expect(names(node.listAll(admin, written.eventPosition()))).To(ContainElement(name))
				Expect(node.must(http.MethodGet, "/api/v1/audit?limit=1", admin, nil, atLeast(written.eventPosition())).header).NotTo(HaveKey("X-Projection-Lag"))
			}
		}
	})

	It("lets exactly one of several changes of the same version through", func() {
		id, _ := register()
		for round := range races {
			seen := nodes[0].must(http.MethodGet, providersPath+"/"+id, admin, nil).header.Get("ETag")
			replies := everywhere(func(node *archon) reply {
				change := map[string]any{"rate_limit_rpm": 1 + time.Now().UnixNano()%1_000_000_000}
				return node.must(http.MethodPatch, providersPath+"/"+id, admin, change, header{"If-Match": seen})
			})
			Expect(statuses(replies)).To(ConsistOf(http.StatusOK, http.StatusPreconditionFailed, http.StatusPreconditionFailed), "round %d", round)
			for _, r := range replies {
				if r.status == http.StatusOK {
					now := nodes[0].must(http.MethodGet, providersPath+"/"+id, admin, nil, atLeast(r.eventPosition()))
					Expect(now.header.Get("ETag")).To(And(Equal(r.header.Get("ETag")), Not(Equal(seen))))
				}
			}
		}
	})

	It("lets changes without a version through, one after the other", func() {
		id, _ := register()
		replies := everywhere(func(node *archon) reply {
			return node.must(http.MethodPatch, providersPath+"/"+id, admin, map[string]any{"supported_models": []string{node.addr}})
		})
		etags := map[string]bool{}
		for _, r := range replies {
			Expect(r.status).To(Equal(http.StatusOK), r.body)
			etags[r.header.Get("ETag")] = true
		}
		Expect(etags).To(And(HaveLen(len(nodes)), HaveKey(`"2"`), HaveKey(`"3"`), HaveKey(`"4"`)))
	})

	It("gives one answer to the same Idempotency-Key on all nodes at once, for one effect", func() {
		for range races {
			key, name := keyed(), uuid.NewString()
			replies := everywhere(func(node *archon) reply {
				return node.must(http.MethodPost, providersPath, admin, body(name, url), key)
			})
			Expect(statuses(replies)).To(HaveEach(http.StatusCreated), "%v", replies)
			first := 0
			for _, r := range replies {
				Expect(r.body).To(Equal(replies[0].body))
				Expect(r.eventPosition()).To(Equal(replies[0].eventPosition()))
				if r.header.Get("Idempotent-Replayed") == "" {
					first++
				}
			}
			Expect(first).To(Equal(1))
			id, _ := replies[0].data()["id"].(string)
			Expect(names(nodes[0].listAll(admin, replies[0].eventPosition()))).To(ContainElement(name))
			change := map[string]any{"is_enabled": false}
			changed := everywhere(func(node *archon) reply {
				return node.must(http.MethodPatch, providersPath+"/"+id, admin, change, header{idempotencyKey: name, "If-Match": `"1"`})
			})
			Expect(statuses(changed)).To(HaveEach(http.StatusOK), "the twins of a change are not stale: %v", changed)
		}
		registered := map[string]int{}
		for _, event := range place.log("acme") {
			if event.Type == "provider.registered.v1" {
				registered[*event.Name]++
			}
		}
		Expect(registered).To(HaveEach(1))
	})

	It("gives a name away once", func() {
		for range races {
			name := uuid.NewString()
			replies := everywhere(func(node *archon) reply {
				return node.must(http.MethodPost, providersPath, admin, body(name, url))
			})
			Expect(statuses(replies)).To(ConsistOf(http.StatusCreated, http.StatusConflict, http.StatusConflict), "%v", replies)
			for _, r := range replies {
				if r.status == http.StatusConflict {
					Expect(r.code()).To(Equal("name_taken"))
				}
			}
		}
	})

	It("goes on where one node is killed while all write", func() {
		victim := nodes[2]
		var killed atomic.Bool
		var after atomic.Int32
		const enough = 60
		atOnce(len(nodes)*8, func(index int) {
			node := nodes[index%len(nodes)]
			for after.Load() < enough {
				r, err := node.call(http.MethodPost, providersPath, admin, body(uuid.NewString(), url), keyed())
				switch {
				case err == nil:
					Expect(r.status).To(Equal(http.StatusCreated), r.body)
				case node == victim:
					return
				default:
					Expect(err).NotTo(HaveOccurred(), "only the killed node may go away")
				}
				if killed.Load() {
					after.Add(1)
				} else if index == 0 {
					victim.kill()
					killed.Store(true)
				}
			}
		})
		head := int64(len(place.log("acme")))
		Expect(nodes[1].must(http.MethodGet, providersPath, admin, nil, atLeast(head)).header).NotTo(HaveKey("X-Projection-Lag"))
		place.expectVerified("acme")
		for _, node := range nodes[:2] {
			Expect(node.must(http.MethodGet, "/health", "", nil).report().Status).To(Equal("ok"))
		}
	})
})

// statuses are the statuses of answers.
func statuses(replies []reply) []int {
	found := make([]int, len(replies))
	for i := range replies {
		found[i] = replies[i].status
	}
	return found
}

var _ = Describe("Roles on nodes of their own", Label("e2e"), Ordered, func() {
	// interval is the shortest that can be set; the prober spreads probes by a fifth of it.
	const interval, spread = time.Second, 0.2
	var place *installation
	var front, projector *archon
	var workers []*archon

	BeforeAll(func() {
		place = install(loopbackAllowed, fmt.Sprintf("ARCHON_PROBE_INTERVAL=%s", interval))
		front = place.start("serve", "--roles", "api")
		projector = place.beside().start("serve", "--roles", "projector")
		for range 2 {
			workers = append(workers, place.beside().start("serve", "--roles", "worker"))
		}
	})

	It("probes a due provider on one node at a time", func() {
		var probes atomic.Int64
		upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			probes.Add(1)
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"object":"list","data":[]}`))
		}))
		DeferCleanup(upstream.Close)
		admin := place.token("acme", "ada", "admin")
		registered := front.must(http.MethodPost, providersPath, admin, body("Probed", upstream.URL))
		Expect(registered.status).To(Equal(http.StatusCreated), registered.body)
		Expect(probes.Swap(0)).To(BeEquivalentTo(1), "the test at registration")

		began := time.Now()
		changed := front.must(http.MethodPatch, providersPath+"/"+registered.data()["id"].(string), admin, map[string]any{"rate_limit_rpm": 60})
		Expect(changed.status).To(Equal(http.StatusOK), changed.body)
		const several = 6
		Eventually(probes.Load).WithTimeout(bound).Should(BeNumerically(">=", several))
		seen, took := probes.Load(), time.Since(began)
		// A provider that was claimed is due again after the interval at the soonest, whoever claims it.
		most := 1 + int64(took.Seconds()/(interval.Seconds()*(1-spread)))
		Expect(seen).To(BeNumerically("<=", most), "in %s", took)
	})

	It("has each answer for its own part only", func() {
		admin := place.token("acme", "ada", "admin")
		for _, node := range append([]*archon{projector}, workers...) {
			Expect(node.must(http.MethodGet, "/health", "", nil).report().Status).To(Equal("ok"))
			Expect(node.must(http.MethodGet, "/health/live", "", nil).status).To(Equal(http.StatusOK))
			Expect(node.must(http.MethodGet, "/metrics", "", nil).body).To(ContainSubstring("process_resident_memory_bytes"))
			Expect(node.must(http.MethodGet, providersPath, admin, nil).status).To(Equal(http.StatusNotFound))
		}
		Expect(projector.must(http.MethodGet, "/metrics", "", nil).body).To(ContainSubstring("archon_projection_lag_events"))
	})

	It("answers writes where nobody projects, and catches up what nobody waits for once somebody does", func() {
		projector.kill()
		upstream := provider()
		admin := place.token("beta", "bob", "admin")
		written := front.must(http.MethodPost, providersPath, admin, body("Alone", upstream.URL))
		Expect(written.status).To(Equal(http.StatusCreated), written.body)
		Expect(written.header).NotTo(HaveKey("X-Projection-Lag"))
		Expect(names(front.listAll(admin, 0))).To(ConsistOf("Alone"))

		unseen := front.must(http.MethodPost, providersPath, admin, body("Later", upstream.URL), header{"Prefer": "respond-async"})
		Expect(unseen.status).To(Equal(http.StatusCreated), unseen.body)
		Expect(names(front.listAll(admin, 0))).To(ConsistOf("Alone"), "nobody projects")
		place.beside().start("serve", "--roles", "projector")
		Eventually(func() []string { return names(front.listAll(admin, 0)) }).WithTimeout(bound).Should(ConsistOf("Alone", "Later"))
	})
})
