package cli_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/internal/eventcodec"
	"github.com/archonhq/archon/projections"
)

const (
	killRounds = 20
	// Every so many rounds PostgreSQL is killed together with Archon.
	databaseToo = 5
	writers     = 64
	// leastWrites and mostWrites bound how many answers a round waits for before it kills.
	leastWrites, mostWrites = 30, 120
)

var _ = Describe("Archon killed in the middle of writers", Label("e2e"), func() {
	It("keeps every acknowledged command once, and makes none twice", func() {
		place, upstream := install(), provider()
		running := place.start()
		w := &workload{place: place, url: upstream.URL, admin: place.token("acme", "ada", "admin")}
		dir, owner := place.cluster(), ownerURL(place)
		began := time.Now()
		for round := range killRounds {
			enough := len(w.done) + leastWrites + rand.IntN(mostWrites-leastWrites)
			w.during(writers, func() {
				Eventually(w.acknowledged).WithTimeout(bound).WithPolling(time.Millisecond).Should(BeNumerically(">=", enough))
				running.kill() // first, or it would still say that the database is away
				if round%databaseToo == databaseToo-1 {
					Expect(syscall.Kill(postmasterIn(dir), syscall.SIGKILL)).To(Succeed())
				}
			})
			running = place.start()
			w.repeatInterrupted()
			w.reconcile(logAt(owner, "acme"))
		}
		By("ending it in order, once")
		enough := len(w.done) + leastWrites
		w.during(writers, func() {
			Eventually(w.acknowledged).WithTimeout(bound).WithPolling(time.Millisecond).Should(BeNumerically(">=", enough))
			Expect(running.terminate()).To(Equal(0), running.output.String())
		})
		running = place.start()
		w.repeatInterrupted()
		w.reconcile(logAt(owner, "acme"))
		AddReportEntry("kill -9 of Archon amid writers", fmt.Sprintf("%d rounds in %s, %d acknowledged, %d interrupted and repeated, %d left open",
			killRounds, time.Since(began).Round(time.Second), len(w.done), w.repeated, len(w.open)))
		Expect(w.repeated).To(BeNumerically(">", killRounds), "the kills must have hit writers")

		By("reading every provider that was registered, once")
		head := int64(len(logAt(owner, "acme")))
		Expect(slices.Sorted(slices.Values(names(place.listAll(w.admin, head))))).To(Equal(slices.Sorted(slices.Values(w.registered()))))
		Expect(place.must(http.MethodGet, "/api/v1/audit?limit=1", w.admin, nil, atLeast(head)).header).NotTo(HaveKey("X-Projection-Lag"))

		By("getting the first answer again for what was acknowledged before the kills")
		for range 20 {
			first := w.done[rand.IntN(len(w.done))]
			if first.key == "" {
				continue
			}
			again := w.send(first.write)
			Expect(again.body).To(Equal(first.reply.body))
			Expect(again.header.Get("X-Event-Position")).To(Equal(first.reply.header.Get("X-Event-Position")))
		}
		Expect(logAt(owner, "acme")).To(HaveLen(int(head)))

		By("finding each provider's secret")
		some := place.listAll(w.admin, head)[0]
		Expect(place.must(http.MethodPost, providersPath+"/"+some["id"].(string)+"/test-connection", w.admin, nil).data()).To(HaveKeyWithValue("ok", true))

		place.expectVerified("acme")
		Expect(running.terminate()).To(Equal(0), running.output.String())
		expectFreshFoldToAgree(place)
	})
})

// write is a request that changes something.
type write struct {
	method, path, key, ifMatch string
	body                       map[string]any
	// name is of the provider that is registered; rpm is what a change sets, unlike any other's.
	name string
	rpm  int64
}

// acknowledgement is a write with its answer.
type acknowledgement struct {
	write
	reply reply
}

// workload is writers and what they know: what was acknowledged, and what was cut off.
type workload struct {
	place      *installation
	url, admin string

	mu   sync.Mutex
	done []acknowledgement
	// interrupted may be repeated, since they have a key; open may not, so they may have happened or not.
	interrupted, open []write
	repeated          int
	rpm               int64
}

func (w *workload) acknowledged() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.done)
}

// during runs n writers until act returns.
func (w *workload) during(n int, act func()) {
	GinkgoHelper()
	stop := make(chan struct{})
	var running sync.WaitGroup
	for range n {
		running.Go(func() {
			defer GinkgoRecover()
			w.run(stop)
		})
	}
	act()
	close(stop)
	running.Wait()
}

// run registers a provider and changes it, over and over, until a request is cut off.
func (w *workload) run(stop <-chan struct{}) {
	for {
		name := uuid.NewString()
		registered, ok := w.try(write{method: http.MethodPost, path: providersPath, key: uuid.NewString(), body: body(name, w.url), name: name})
		for change := 0; ok && change < 3; change++ {
			select {
			case <-stop:
				return
			default:
			}
			one := w.change(registered)
			if change > 0 {
				one.key = uuid.NewString()
			}
			if change > 1 {
				one.ifMatch = registered.header.Get("ETag")
			}
			var changed reply
			if changed, ok = w.try(one); ok {
				registered = changed
			}
		}
		if !ok {
			return
		}
	}
}

// change is a change of the provider that an answer is about.
func (w *workload) change(of reply) write {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rpm++
	id, _ := of.data()["id"].(string)
	return write{method: http.MethodPatch, path: providersPath + "/" + id, body: map[string]any{"rate_limit_rpm": w.rpm}, rpm: w.rpm}
}

// try sends a write and notes what became of it.
func (w *workload) try(one write) (reply, bool) {
	r, err := w.place.call(one.method, one.path, w.admin, one.body, one.headers())
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err == nil:
		Expect(r.status).To(Or(Equal(http.StatusCreated), Equal(http.StatusOK)), r.body)
		w.done = append(w.done, acknowledgement{write: one, reply: r})
	case one.key != "":
		w.interrupted = append(w.interrupted, one)
	default:
		w.open = append(w.open, one)
	}
	return r, err == nil
}

func (one write) headers() header {
	headers := header{}
	if one.key != "" {
		headers[idempotencyKey] = one.key
	}
	if one.ifMatch != "" {
		headers["If-Match"] = one.ifMatch
	}
	return headers
}

// send sends a write whose answer must come.
func (w *workload) send(one write) reply {
	GinkgoHelper()
	return w.place.must(one.method, one.path, w.admin, one.body, one.headers())
}

// repeatInterrupted sends what was cut off again, all at once; now it must succeed, whether it did before or not.
func (w *workload) repeatInterrupted() {
	GinkgoHelper()
	again := w.interrupted
	w.interrupted = nil
	w.repeated += len(again)
	atOnce(len(again), func(index int) { w.try(again[index]) })
	Expect(w.interrupted).To(BeEmpty())
}

// registered are the names of all providers that must be there.
func (w *workload) registered() []string {
	var found []string
	for _, ack := range w.done {
		if ack.name != "" {
			found = append(found, ack.name)
		}
	}
	return found
}

// reconcile holds what was acknowledged against the log. It compares by hand: matchers would take longer than the kills.
func (w *workload) reconcile(events []logged) {
	GinkgoHelper()
	found := contentOf(events)
	positions := map[int64]bool{}
	for _, ack := range w.done {
		position := ack.reply.eventPosition()
		if positions[position] {
			Fail(fmt.Sprintf("two commands end at position %d", position))
		}
		positions[position] = true
		if problem := found.problemOf(ack.write, position); problem != "" {
			Fail(fmt.Sprintf("%s %s, acknowledged at position %d: %s", ack.method, ack.path, position, problem))
		}
	}
	for _, one := range w.open {
		if found.changed[one.rpm] > 1 {
			Fail(fmt.Sprintf("a change that nobody repeated was made %d times", found.changed[one.rpm]))
		}
	}
	Expect(found.registered).To(HaveLen(len(w.registered())), "nothing that nobody asked for")
}

// content is what the events of a log say.
type content struct {
	events     []logged
	registered map[string]int
	changed    map[int64]int
	// of is a command's event that registered or changed something.
	of map[uuid.UUID]logged
}

func contentOf(events []logged) content {
	c := content{events: events, registered: map[string]int{}, changed: map[int64]int{}, of: map[uuid.UUID]logged{}}
	for _, event := range events {
		switch event.Type {
		case "provider.registered.v1":
			c.registered[*event.Name]++
		case "provider.updated.v1":
			c.changed[*event.RPM]++
		default:
			continue
		}
		c.of[event.CommandID] = event
	}
	return c
}

// problemOf is what is wrong with a write that was acknowledged at a position; empty where nothing is.
func (c content) problemOf(one write, position int64) string {
	if position > int64(len(c.events)) {
		return "the log ends before it"
	}
	event, known := c.of[c.events[position-1].CommandID]
	switch {
	case !known:
		return "there is an event of something else"
	case one.name != "" && (event.Type != "provider.registered.v1" || *event.Name != one.name):
		return "there is another command"
	case one.name != "" && c.registered[one.name] != 1:
		return fmt.Sprintf("registered %d times", c.registered[one.name])
	case one.name == "" && (event.Type != "provider.updated.v1" || *event.RPM != one.rpm):
		return "there is another command"
	case one.name == "" && c.changed[one.rpm] != 1:
		return fmt.Sprintf("changed %d times", c.changed[one.rpm])
	}
	return ""
}

// postmasterIn is the process id of the PostgreSQL that serves a folder.
func postmasterIn(dir string) int {
	GinkgoHelper()
	raw, err := os.ReadFile(dir + "/postmaster.pid")
	Expect(err).NotTo(HaveOccurred())
	first, _, _ := strings.Cut(string(raw), "\n")
	var pid int
	_, err = fmt.Sscan(first, &pid)
	Expect(err).NotTo(HaveOccurred())
	return pid
}

// foldedTables are what projections.Providers and projections.AuditIndex build.
var foldedTables = []string{"model_providers", "provider_health", "provider_health_history", "provider_health_slots", "audit_index"}

// expectFreshFoldToAgree copies the database of an Archon that has ended, folds the log of the copy from the beginning,
// and compares the read tables.
func expectFreshFoldToAgree(place *installation) {
	GinkgoHelper()
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	original := ownerURL(place)
	const fresh = "fresh_fold"
	admin, err := pgx.Connect(ctx, onDatabase(original, "postgres"))
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = admin.Close(ctx) }()
	_, err = admin.Exec(ctx, "create database "+fresh+" template archon")
	Expect(err).NotTo(HaveOccurred())

	copied := onDatabase(original, fresh)
	before := foldedRows(ctx, copied)
	for _, table := range []string{"model_providers", "provider_health", "provider_health_history", "audit_index"} {
		Expect(before[table]).NotTo(BeEmpty(), table)
	}
	owner, err := pgx.Connect(ctx, copied)
	Expect(err).NotTo(HaveOccurred())
	_, err = owner.Exec(ctx, "truncate projection_checkpoints, "+strings.Join(foldedTables, ", "))
	Expect(err).NotTo(HaveOccurred())
	var tenant string
	var head int64
	Expect(owner.QueryRow(ctx, `select tenant_id, position from chain_heads`).Scan(&tenant, &head)).To(Succeed())
	Expect(owner.Close(ctx)).To(Succeed())

	config, err := pgxpool.ParseConfig(copied)
	Expect(err).NotTo(HaveOccurred())
	config.ConnConfig.RuntimeParams["role"] = "archon_worker"
	config.ConnConfig.RuntimeParams["timezone"] = "UTC"
	pool, err := pgxpool.NewWithConfig(ctx, config)
	Expect(err).NotTo(HaveOccurred())
	defer pool.Close()
	runner, err := projections.NewRunner(pool, eventcodec.New(), projections.Config{}, projections.Providers{}, projections.AuditIndex{})
	Expect(err).NotTo(HaveOccurred())
	Expect(runner.Wait(ctx, tenant, head)).To(Succeed())
	after := foldedRows(ctx, copied)
	for _, table := range foldedTables {
		Expect(after[table]).To(HaveLen(len(before[table])), table)
		for i := range after[table] {
			if after[table][i] != before[table][i] {
				Expect(after[table][i]).To(Equal(before[table][i]), table)
			}
		}
	}
}

// onDatabase is a connection string with another database.
func onDatabase(dsn, database string) string {
	GinkgoHelper()
	parsed, err := url.Parse(dsn)
	Expect(err).NotTo(HaveOccurred())
	parsed.Path = "/" + database
	return parsed.String()
}

// foldedRows are the rows of the folded tables as text, sorted.
func foldedRows(ctx context.Context, dsn string) map[string][]string {
	GinkgoHelper()
	conn, err := pgx.Connect(ctx, dsn)
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = conn.Close(ctx) }()
	found := map[string][]string{}
	for _, table := range foldedTables {
		rows, err := conn.Query(ctx, "select t::text from "+table+" t order by 1")
		Expect(err).NotTo(HaveOccurred())
		found[table], err = pgx.CollectRows(rows, pgx.RowTo[string])
		Expect(err).NotTo(HaveOccurred())
	}
	return found
}
