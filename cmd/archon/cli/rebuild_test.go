package cli_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/eventstore"
)

// fill appends events that only the audit trail shows, and returns the tenant's head.
func fill(place *installation, tenant string, events int) int64 {
	GinkgoHelper()
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	pool, err := pgxpool.New(ctx, ownerURL(place))
	Expect(err).NotTo(HaveOccurred())
	defer pool.Close()
	store := eventstore.New(pool, eventstore.Config{})
	const batch = 500
	var last int64
	for range events / batch {
		more := make([]eventstore.NewEvent, batch)
		for i := range more {
			id := uuid.NewString()
			more[i] = eventstore.NewEvent{Stream: "job-" + id, Type: "job.retried.v1", Data: []byte(`{"job_id":"` + id + `"}`)}
		}
		result, err := store.Append(ctx, eventstore.Append{Tenant: tenant, Events: more, Meta: []byte(`{"actor":{"id":"ada","type":"user"}}`)})
		Expect(err).NotTo(HaveOccurred())
		last = result.Last
	}
	Expect(store.Close(ctx)).To(Succeed())
	return last
}

var _ = Describe("A rebuild whose process is killed", Label("e2e"), func() {
	It("goes on with the same command, or with the next start, and what served serves until then", func() {
		place := install()
		node := place.start()
		fill(place, "acme", 30_000)
		fill(place, "beta", 30_000)
		Eventually(func() string { stdout, _, _ := place.run("projections", "list"); return stdout }).WithTimeout(bound).Should(MatchRegexp(`(?m)^audit_index .* 60000 +60000 +0 `))
		// The last one to leave would stop PostgreSQL, and this spec's connection with it.
		stays := place.command("events", "tail", "--tenant", "nobody")
		Expect(stays.Start()).To(Succeed())
		DeferCleanup(func() {
			_ = stays.Process.Kill()
			_ = stays.Wait()
		})
		node.kill()

		ctx, conn := connect(ownerURL(place))
		const rows = `select md5(string_agg(a::text, '' order by tenant_id, position)) from audit_index a`
		before := one[string](ctx, conn, rows)
		_, err := conn.Exec(ctx, `update audit_index set actor = 'mallory' where position % 1000 = 7`)
		Expect(err).NotTo(HaveOccurred())
		_, err = conn.Exec(ctx, `delete from audit_index where position = 29000`)
		Expect(err).NotTo(HaveOccurred())
		tampered := one[string](ctx, conn, rows)
		stdout, _, code := place.run("projections", "diff", "audit_index")
		Expect(code).To(Equal(failed))
		Expect(stdout).To(And(ContainSubstring(`acme: audit_index position="7": actor is "mallory", the log says "ada"`),
			ContainSubstring(`beta: audit_index position="29000": the row is missing`), MatchRegexp(`(?m)^beta: audit_index DIFFERS from the log in 31 rows, at position \d+$`)))

		By("killing the command")
		done := func() int64 {
			return one[int64](ctx, conn, `select coalesce(sum(position), 0)::bigint from projection_checkpoints where projection = 'rebuild/audit_index'`)
		}
		var reached int64
		for range 3 {
			command := place.command("projections", "rebuild", "audit_index", "--parallel", "1")
			Expect(command.Start()).To(Succeed())
			Eventually(done).WithTimeout(bound).WithPolling(time.Millisecond).Should(BeNumerically(">", reached))
			Expect(command.Process.Kill()).To(Succeed())
			_ = command.Wait()
			Expect(done()).To(BeNumerically(">", reached), "it goes on where it was")
			reached = done()
			Expect(one[string](ctx, conn, rows)).To(Equal(tampered), "nothing is half done")
		}
		By("starting a node, and killing it, too")
		node = place.start()
		node.kill()
		node = place.start()
		Eventually(func() int64 {
			return one[int64](ctx, conn, `select count(*) from projection_checkpoints where projection = 'rebuild/audit_index'`)
		}).WithTimeout(bound).Should(BeZero())
		Expect(one[string](ctx, conn, `select md5(string_agg(a::text, '' order by tenant_id, position)) from audit_index a where position <= 30000`)).To(Equal(before))
		stdout, stderr, code := place.run("projections", "diff", "audit_index")
		Expect(code).To(Equal(good), stdout+stderr)
		Expect(node.terminate()).To(Equal(good))
	})
})

var _ = Describe("Projections under an operator", Label("e2e"), Ordered, func() {
	var (
		place           *installation
		nodes           []*archon
		url             string
		admin, operator string
	)

	BeforeAll(func() {
		url = provider().URL
		place = install("ARCHON_READ_YOUR_WRITES_TIMEOUT=1m")
		nodes = []*archon{place.start()}
		nodes = append(nodes, place.beside(loopbackAllowed).start("serve"))
		admin, operator = place.token("acme", "ada", "admin"), place.token("acme", "otto", "operator")
		Expect(place.must(http.MethodPost, providersPath, admin, body("First", url)).status).To(Equal(http.StatusCreated))
		Expect(place.must(http.MethodPost, providersPath, place.token("beta", "bob", "admin"), body("Other", url)).status).To(Equal(http.StatusCreated))
	})
	act := func(name, verb, token string) reply {
		GinkgoHelper()
		return place.must(http.MethodPost, projectionsPath+"/"+name+"/"+verb, token, nil)
	}
	shown := func(name string) func() map[string]any {
		return func() map[string]any {
			list := place.must(http.MethodGet, projectionsPath, operator, nil).list()
			return list[slices.IndexFunc(list, func(p map[string]any) bool { return p["name"] == name })]
		}
	}

	It("are read without a gap while they are rebuilt on two nodes and written to", func() {
		const rebuilds = 8
		stop := make(chan struct{})
		var running sync.WaitGroup
		loop := func(step func(n int)) {
			running.Go(func() {
				defer GinkgoRecover()
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					default:
						step(n)
					}
				}
			})
		}
		var mu sync.Mutex
		written := []string{"First"}
		loop(func(n int) {
			name := uuid.NewString()
			r := nodes[n%2].must(http.MethodPost, providersPath, admin, body(name, url))
			Expect(r.status).To(Equal(http.StatusCreated), r.body)
			mu.Lock()
			defer mu.Unlock()
			written = append(written, name)
		})
		for _, node := range nodes {
			entries := 0
			loop(func(int) {
				mu.Lock()
				known := slices.Clone(written)
				mu.Unlock()
				Expect(names(node.listAll(admin, 0))).To(ContainElements(known), "what was acknowledged is there, at every moment")
				page := node.must(http.MethodGet, "/api/v1/audit?limit=1", admin, nil).list()
				position := int(page[0]["position"].(float64))
				Expect(position).To(BeNumerically(">=", entries))
				entries = position
			})
		}
		func() {
			defer running.Wait()
			defer close(stop)
			for range rebuilds {
				for _, name := range []string{"providers", "audit_index"} {
					r := act(name, "rebuild", operator)
					Expect(r.status).To(Equal(http.StatusAccepted), r.body)
				}
				for _, name := range []string{"providers", "audit_index"} {
					Eventually(shown(name)).WithTimeout(bound).Should(And(HaveKeyWithValue("status", "live"), HaveKeyWithValue("rebuild", BeNil())))
				}
			}
		}()
		stdout, stderr, code := place.run("projections", "diff", "providers")
		Expect(code).To(Equal(good), stdout+stderr)
		Expect(stdout).To(MatchRegexp(`(?m)^acme: providers agrees with the log, \d+ rows, at position \d+$`))
	})

	It("are rebuilt, paused and resumed by operators, who are on record", func() {
		viewer := place.token("acme", "vera", "viewer")
		for _, verb := range []string{"rebuild", "retry", "pause", "resume"} {
			Expect(act("keys", verb, viewer).status).To(Equal(http.StatusForbidden), verb)
			Expect(act("nothing", verb, operator).status).To(Equal(http.StatusNotFound), verb)
			Expect(act("keys", verb, operator).status).To(Equal(http.StatusAccepted), verb)
			entry := place.must(http.MethodGet, "/api/v1/audit?limit=1&actor=otto", admin, nil).list()[0]
			Expect(entry).To(HaveKeyWithValue("action", "POST "+projectionsPath+"/{name}/"+verb))
		}
		refused := act("secret_removal", "rebuild", operator)
		Expect(refused.status).To(Equal(http.StatusConflict))
		Expect(refused.code()).To(Equal("never_rebuilt"))

		paused := act("providers", "pause", operator)
		Expect(paused.data()).To(And(HaveKeyWithValue("status", "stalled"), HaveKeyWithValue("error", "paused")))
		written := place.must(http.MethodPost, providersPath, admin, body("While paused", url))
		Expect(written.status).To(Equal(http.StatusCreated), written.body)
		Expect(written.header.Get("X-Projection-Lag")).To(Equal("true"))
		Expect(names(place.listAll(admin, 0))).NotTo(ContainElement("While paused"))
		Expect(act("providers", "resume", operator).status).To(Equal(http.StatusAccepted))
		Expect(names(place.listAll(admin, written.eventPosition()))).To(ContainElement("While paused"))
	})

	It("are steered from the command line, for one tenant or all, who are on record", func() {
		says := func(code int, args ...string) string {
			GinkgoHelper()
			stdout, stderr, got := place.run(append([]string{"projections"}, args...)...)
			Expect(got).To(Equal(code), stdout+stderr)
			return stdout + stderr
		}
		recorded := func(event string) []map[string]any {
			return place.must(http.MethodGet, "/api/v1/audit?actor=cli&action="+event, admin, nil).list()
		}
		Expect(says(good, "pause", "keys", "--tenant", "acme")).To(Equal("keys is paused for 1 tenants\n"))
		Expect(says(good, "pause", "keys")).To(Equal("keys is paused for 1 tenants\n"), "the other one")
		Expect(says(good, "list")).To(MatchRegexp(`(?m)^keys +1 +stalled .* tenant acme: paused$`))
		Expect(says(good, "resume", "keys")).To(Equal("keys goes on for 2 tenants\n"))
		for _, event := range []string{"projection.paused.v1", "projection.resumed.v1"} {
			Eventually(recorded).WithArguments(event).WithTimeout(bound).Should(HaveLen(1), event)
		}

		forge(place, `update model_providers set name = 'Forged' where tenant_id = 'acme' and name = 'First'`)
		Expect(says(failed, "diff", "providers", "--tenant", "acme")).To(And(
			MatchRegexp(`(?m)^acme: model_providers id="[0-9a-f-]{36}": name is "Forged", the log says "First"$`),
			MatchRegexp(`(?m)^acme: providers DIFFERS from the log in 1 rows, at position \d+$`)))
		Expect(says(failed, "diff", "providers", "--json")).To(MatchRegexp(`^\{"tenant_id":"acme","table":"model_providers","kind":"changed",.*\}\n$`))
		Expect(says(good, "diff", "providers", "--tenant", "beta")).To(ContainSubstring("agrees"))
		Expect(says(good, "rebuild", "providers", "--parallel", "3")).To(MatchRegexp(`(?m)^providers rebuilt for 2 tenants, \d+ events in .+s$`))
		Expect(says(good, "diff", "providers")).To(And(MatchRegexp(`(?m)^acme: .*agrees`), MatchRegexp(`(?m)^beta: .*agrees`)))
		Eventually(recorded).WithArguments("projection.rebuild_requested.v1").WithTimeout(bound).Should(HaveLen(1))

		Expect(says(failed, "rebuild", "probe_schedule")).To(ContainSubstring("reaction"))
		Expect(says(failed, "diff", "probe_schedule")).To(ContainSubstring("reaction"))
		Expect(says(failed, "diff", "nothing")).To(ContainSubstring("unknown projection"))
		Expect(says(2, "rebuild", "providers", "--parallel", "0")).To(ContainSubstring("--parallel"))
	})

	It("say where a rebuild has stopped", func() {
		position := poison(place, "beta", "key-", "key.created.v1")
		stdout, stderr, code := place.run("projections", "rebuild", "keys", "--tenant", "beta")
		Expect(code).To(Equal(failed), stderr)
		Expect(stdout).To(And(HavePrefix("keys has stopped for 1 of 1 tenants; what served goes on serving\n"),
			ContainSubstring(fmt.Sprintf("tenant beta: position %d key.created.v1: ", position))))
		stdout, _, _ = place.run("projections", "list", "--tenant", "beta")
		Expect(stdout).To(MatchRegexp(`(?m)^keys .* stopped at position \d+ key\.created`))
	})

	It("tell how far a rebuild is, on lines where nobody looks", func() {
		fill(place, "gamma", 40_000)
		command := place.command("projections", "rebuild", "audit_index", "--tenant", "gamma")
		var errs bytes.Buffer
		command.Stderr = &errs
		Expect(command.Run()).To(Succeed())
		for line := range strings.Lines(errs.String()) {
			Expect(line).To(MatchRegexp(`^audit_index +\d+ %, \d+ of \d+ events, \d tenants to go(, \d+ events/s, about \S+ left)?\n$`))
		}
	})
})
