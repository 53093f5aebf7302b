package cli_test

import (
	"context"
	"net/http"
	"strings"

	"github.com/jackc/pgx/v5"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/gatewaytest"
)

// providersPath is where model providers are.
const providersPath = "/api/v1/router/providers"

// canary is a provider key that must be found nowhere.
const canary = "sk-canary-4f9d2c7b1e8a6035d9"

func body(name, url string) map[string]any {
	return map[string]any{"name": name, "type": "openai", "base_url": url, "api_key": canary}
}

var _ = Describe("A new user's walk", Label("e2e"), func() {
	It("registers a real provider, sees its health, loses nothing to kill -9, and notices a forged row", func() {
		upstream := gatewaytest.New(gateway.OpenAI, gatewaytest.Options{APIKey: canary})
		DeferCleanup(upstream.Close)
		place := install()

		By("starting Archon with nothing but a data folder")
		running := place.start()
		Eventually(running.output.String).WithTimeout(bound).Should(And(
			ContainSubstring("http://"+place.addr), ContainSubstring(place.dir), ContainSubstring("curl "), ContainSubstring("Bearer ")))
		admin := place.token("acme", "ada", "admin")

		By("registering a provider")
		registered := place.must(http.MethodPost, providersPath, admin, body("OpenAI", upstream.URL+"/v1"))
		Expect(registered.status).To(Equal(http.StatusCreated), registered.body)
		provider := registered.data()
		id, _ := provider["id"].(string)
		Expect(provider).To(And(
			HaveKeyWithValue("health_status", "healthy"), HaveKeyWithValue("base_url", upstream.URL+"/v1"),
			HaveKeyWithValue("vault_path", "secret/tenants/acme/providers/"+id),
			HaveKeyWithValue("connection_test", And(HaveKeyWithValue("ok", true), HaveKeyWithValue("error", BeNil())))))
		Expect(registered.header.Get("X-Event-Position")).To(Equal("3"))
		Expect(registered.header.Get("ETag")).To(Equal(`"1"`))

		By("reading what was written at once")
		listed := place.must(http.MethodGet, providersPath, admin, nil).list()
		Expect(listed).To(HaveLen(1))
		Expect(listed[0]).To(HaveKeyWithValue("name", "OpenAI"))
		health := place.must(http.MethodGet, providersPath+"/health", admin, nil).data()
		Expect(health).To(And(HaveKeyWithValue("total", 1.0), HaveKeyWithValue("healthy", 1.0)))
		entries := place.must(http.MethodGet, "/api/v1/audit", admin, nil).list()
		Expect(entries).To(HaveLen(2), "telemetry is left out")
		Expect(entries[1]).To(And(
			HaveKeyWithValue("action", "POST "+providersPath), HaveKeyWithValue("resource_type", "provider"), HaveKeyWithValue("resource_id", id),
			HaveKeyWithValue("actor", "ada"), HaveKeyWithValue("status_code", 201.0), HaveKeyWithValue("ip_address", "127.0.0.1"),
			HaveKeyWithValue("outcome", "succeeded"), HaveKeyWithValue("user_agent", HavePrefix("Go-http-client"))))

		By("killing and restarting it")
		running.kill()
		place.start()
		again := place.must(http.MethodGet, providersPath+"/"+id, admin, nil)
		Expect(again.status).To(Equal(http.StatusOK), "a token outlives a restart: "+again.body)
		Expect(again.data()).To(HaveKeyWithValue("name", "OpenAI"))
		tested := place.must(http.MethodPost, providersPath+"/"+id+"/test-connection", admin, nil)
		Expect(tested.data()).To(HaveKeyWithValue("ok", true), "the secret survived: "+tested.body)

		By("verifying the log")
		verified := place.must(http.MethodGet, "/api/v1/audit/verify", admin, nil).data()
		Expect(verified).To(And(HaveKeyWithValue("ok", true), HaveKeyWithValue("checked", 4.0), HaveKeyWithValue("first_bad_position", BeNil())))
		stdout, _, code := place.run("audit", "verify")
		Expect(code).To(Equal(0))
		Expect(stdout).To(ContainSubstring("acme: ok, 4 events"))

		By("forging a row")
		forge(place, `update events set data = convert_to(replace(convert_from(data, 'UTF8'), 'OpenAI', 'Forged'), 'UTF8') where tenant_id = 'acme' and position = 2`)
		verified = place.must(http.MethodGet, "/api/v1/audit/verify", admin, nil).data()
		Expect(verified).To(And(HaveKeyWithValue("ok", false), HaveKeyWithValue("first_bad_position", 2.0)))
		stdout, _, code = place.run("audit", "verify", "--tenant", "acme")
		Expect(code).To(Equal(1))
		Expect(stdout).To(ContainSubstring("first bad position 2"))

		By("finding the provider's key nowhere")
		Expect(dump(place)).NotTo(ContainSubstring(canary))
		Expect(running.output.String()).NotTo(ContainSubstring(canary))
	})

	It("drains on SIGTERM: the request in hand is answered and the exit code is 0", func() {
		upstream := gatewaytest.New(gateway.OpenAI, gatewaytest.Options{APIKey: canary})
		DeferCleanup(upstream.Close)
		place := install()
		running := place.start()
		admin := place.token("acme", "ada", "admin")
		upstream.Behave(gatewaytest.Hang())
		answered := make(chan int, 1)
		go func() {
			defer GinkgoRecover()
			answered <- place.must(http.MethodPost, providersPath, admin, body("Slow", upstream.URL)).status
		}()
		Eventually(upstream.Requests).WithTimeout(bound).ShouldNot(BeEmpty())
		Expect(running.terminate()).To(Equal(0), running.output.String())
		Eventually(answered).WithTimeout(bound).Should(Receive(Equal(http.StatusCreated)))
		Expect(running.output.String()).To(ContainSubstring("draining"))
	})
})

// ownerURL is the superuser's connection string.
func ownerURL(place *installation) string {
	GinkgoHelper()
	stdout, stderr, code := place.run("dsn", "--owner")
	Expect(code).To(Equal(0), stderr)
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	return lines[len(lines)-1]
}

// asOwner runs work with a superuser's connection.
func asOwner(place *installation, work func(ctx context.Context, conn *pgx.Conn)) {
	GinkgoHelper()
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	conn, err := pgx.Connect(ctx, ownerURL(place))
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = conn.Close(ctx) }()
	work(ctx, conn)
}

// forge changes the log the way only a superuser can.
func forge(place *installation, statement string) {
	GinkgoHelper()
	asOwner(place, func(ctx context.Context, conn *pgx.Conn) {
		_, err := conn.Exec(ctx, "set session_replication_role = replica")
		Expect(err).NotTo(HaveOccurred())
		tag, err := conn.Exec(ctx, statement)
		Expect(err).NotTo(HaveOccurred())
		Expect(tag.RowsAffected()).To(BeNumerically(">", 0))
	})
}

// dump is every row of every table as text.
func dump(place *installation) string {
	GinkgoHelper()
	var text strings.Builder
	asOwner(place, func(ctx context.Context, conn *pgx.Conn) {
		rows, err := conn.Query(ctx, `select tablename from pg_tables where schemaname = 'public'`)
		Expect(err).NotTo(HaveOccurred())
		tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
		Expect(err).NotTo(HaveOccurred())
		Expect(tables).To(ContainElements("events", "model_providers", "commands", "audit_index"))
		for _, table := range tables {
			rows, err := conn.Query(ctx, `select t::text from `+table+` t`)
			Expect(err).NotTo(HaveOccurred())
			lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
			Expect(err).NotTo(HaveOccurred())
			text.WriteString(strings.Join(lines, "\n"))
		}
		rows, err = conn.Query(ctx, `select convert_from(data, 'UTF8') || convert_from(meta, 'UTF8') from events union all select convert_from(answer, 'UTF8') from commands`)
		Expect(err).NotTo(HaveOccurred())
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		Expect(err).NotTo(HaveOccurred())
		text.WriteString(strings.Join(lines, "\n"))
	})
	return text.String()
}
