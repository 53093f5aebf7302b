package cli_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/gateway"
)

// poisonPosition is where the poison event of these specs is: behind the three events of a registration.
const poisonPosition = 4

var _ = Describe("An event that can't be projected", Label("e2e"), Ordered, func() {
	var (
		place  *installation
		url    string
		admin  string // of the tenant with the poison
		other  string // of a tenant without
		before string // id of a provider that was registered before the poison
	)

	BeforeAll(func() {
		url = provider().URL
		// A wait that is in vain must not be waited for: with this bound it would show.
		place = install("ARCHON_READ_YOUR_WRITES_TIMEOUT=1m")
		place.start()
		admin, other = place.token("acme", "ada", "admin"), place.token("beta", "bob", "admin")
		registered := place.must(http.MethodPost, providersPath, admin, body("Before", url))
		Expect(registered.status).To(Equal(http.StatusCreated), registered.body)
		before, _ = registered.data()["id"].(string)
		Expect(place.must(http.MethodPost, providersPath, other, body("Other", url)).status).To(Equal(http.StatusCreated))
		Expect(poison(place, "acme", "provider-", "provider.registered.v1")).To(BeEquivalentTo(poisonPosition))
	})

	// stalled is how the projections are that the poison concerns, as the API shows them to the tenant's admin.
	stalled := And(HaveKeyWithValue("status", "stalled"), HaveKeyWithValue("position", BeEquivalentTo(poisonPosition-1)),
		HaveKeyWithValue("error", ContainSubstring(fmt.Sprintf("position %d provider.registered.v1", poisonPosition))))

	projectionOf := func(token, name string) func() map[string]any {
		return func() map[string]any {
			for _, projection := range place.must(http.MethodGet, "/api/v1/projections", token, nil).list() {
				if projection["name"] == name {
					return projection
				}
			}
			return nil
		}
	}

	It("stops the projections that meet it, for its tenant, where everybody can see it", func() {
		for _, name := range []string{"providers", "probe_schedule"} {
			Eventually(projectionOf(admin, name)).WithTimeout(bound).Should(stalled)
			Expect(projectionOf(other, name)()).To(And(HaveKeyWithValue("status", "live"), HaveKeyWithValue("lag_events", 0.0), HaveKeyWithValue("error", BeNil())))
		}
		Eventually(projectionOf(admin, "audit_index")).WithTimeout(bound).Should(And(
			HaveKeyWithValue("status", "live"), HaveKeyWithValue("position", BeEquivalentTo(poisonPosition))), "it takes every event as it is")

		stdout, stderr, code := place.run("projections", "list")
		Expect(code).To(Equal(0), stderr)
		Expect(stdout).To(MatchRegexp(`(?m)^providers +\d+ +stalled .*tenant acme: position 4 provider\.registered\.v1: `))
		Expect(stdout).To(MatchRegexp(`(?m)^audit_index +\d+ +live `))

		Eventually(place.stateOfHealth("projections")).WithTimeout(bound).Should(Equal("degraded, projections unavailable"))
		health := place.must(http.MethodGet, "/health", "", nil)
		Expect(health.status).To(Equal(http.StatusOK))
		Expect(health.report().Reason).To(ContainSubstring("archon projections list"))
		Expect(health.body).NotTo(ContainSubstring("acme"), "who is concerned is nobody else's business")
	})

	It("leaves other tenants alone", func() {
		written := place.must(http.MethodPost, providersPath, other, body("Another", url))
		Expect(written.status).To(Equal(http.StatusCreated), written.body)
		Expect(written.header).NotTo(HaveKey("X-Projection-Lag"))
		Expect(names(place.listAll(other, written.eventPosition()))).To(ConsistOf("Other", "Another"))
	})

	It("lets writes of its tenant through, which say that they can't be seen yet", func() {
		written := place.must(http.MethodPost, providersPath, admin, body("After", url))
		Expect(written.status).To(Equal(http.StatusCreated), written.body)
		Expect(written.header.Get("X-Projection-Lag")).To(Equal("true"))
		after, _ := written.data()["id"].(string)
		for _, id := range []string{before, after} {
			changed := place.must(http.MethodPatch, providersPath+"/"+id, admin, map[string]any{"rate_limit_rpm": 60}, header{"If-Match": `"1"`})
			Expect(changed.status).To(Equal(http.StatusOK), changed.body)
			Expect(changed.data()).To(And(HaveKeyWithValue("rate_limit_rpm", 60.0), HaveKeyWithValue("created_at", Not(HavePrefix("0001")))))
			Expect(changed.header.Get("ETag")).To(Equal(`"2"`))
			Expect(changed.header.Get("X-Projection-Lag")).To(Equal("true"))
		}
		taken := place.must(http.MethodPost, providersPath, admin, body("After", url))
		Expect(taken.code()).To(Equal("name_taken"), "decisions rest on the log, not on read tables")

		By("reading, with and without a position to wait for")
		Expect(names(place.must(http.MethodGet, providersPath, admin, nil).list())).To(ConsistOf("Before"))
		waited := place.must(http.MethodGet, providersPath, admin, nil, atLeast(written.eventPosition()))
		Expect(waited.status).To(Equal(http.StatusOK), waited.body)
		Expect(waited.header.Get("X-Projection-Lag")).To(Equal("true"))
		Expect(names(waited.list())).To(ConsistOf("Before"))
		Expect(place.must(http.MethodGet, "/api/v1/audit", admin, nil, atLeast(written.eventPosition())).header).NotTo(HaveKey("X-Projection-Lag"))
		place.expectVerified("acme")
	})

	It("stops them again where they are retried, since it is still there", func() {
		retried := place.must(http.MethodPost, "/api/v1/projections/providers/retry", admin, nil)
		Expect(retried.status).To(Equal(http.StatusAccepted), retried.body)
		Eventually(projectionOf(admin, "providers")).WithTimeout(bound).Should(stalled)
		stdout, stderr, code := place.run("projections", "retry", "providers")
		Expect(code).To(Equal(0), stderr)
		Expect(stdout).To(Equal("providers goes on for 1 tenants\n"))
		Eventually(projectionOf(admin, "providers")).WithTimeout(bound).Should(stalled)
	})
})

var _ = Describe("Calls where an event of keys can't be projected", Label("e2e"), func() {
	It("go on, know other changes, and refuse keys that are revoked all the same", func() {
		place := install()
		place.start()
		c := place.customer()
		c.registers("Only", "openai", chatting(gateway.OpenAI, "one").URL)
		key, _ := c.makesKey(nil)
		doomed, id := c.makesKey(nil)
		Expect(c.mustChat(doomed, talk("hello")).status).To(Equal(http.StatusOK))
		poison(place, c.name, "key-", "key.created.v1")

		revoked := c.must(http.MethodDelete, keysPath+"/"+id, c.admin, nil)
		Expect(revoked.status).To(Equal(http.StatusNoContent), revoked.body)
		Expect(revoked.header.Get("X-Projection-Lag")).To(Equal("true"))
		Eventually(func() int { return c.mustChat(doomed, talk("hello")).status }).WithTimeout(bound).Should(Equal(http.StatusUnauthorized))
		Expect(c.mustChat(key, talk("hello")).text).To(Equal("one"))

		c.sends(c.registers("Other", "openai", chatting(gateway.OpenAI, "other").URL))
		Eventually(func() string { return c.mustChat(key, talk("hello")).text }).WithTimeout(bound).Should(Equal("other"))
		Expect(c.mustChat(doomed, talk("hello")).status).To(Equal(http.StatusUnauthorized))
	})
})

// poison appends an event that has the name of a known one and not its form, to a stream whose name begins as given, and
// returns its position.
func poison(place *installation, tenant, prefix, eventType string) int64 {
	GinkgoHelper()
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	pool, err := pgxpool.New(ctx, ownerURL(place))
	Expect(err).NotTo(HaveOccurred())
	defer pool.Close()
	store := eventstore.New(pool, eventstore.Config{})
	result, err := store.Append(ctx, eventstore.Append{
		Tenant: tenant, Meta: []byte(`{"actor":{"id":"mallory","type":"user"}}`),
		Events: []eventstore.NewEvent{{Stream: prefix + uuid.NewString(), Type: eventType, Data: []byte(`[]`)}},
	})
	Expect(err).NotTo(HaveOccurred())
	Expect(store.Close(ctx)).To(Succeed())
	return result.Last
}
