package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/gateway/gatewaytest"
	"github.com/archonhq/archon/internal/secrets/secretstest"
)

// rotatedKey is what the provider's key is changed to; it must be found nowhere either.
const rotatedKey = "sk-canary-rotated-8a1d5c3b7e"

var _ = Describe("Archon with its secrets in Vault", Label("e2e"), Ordered, func() {
	var (
		server   secretstest.Server
		vault    *gate
		place    *installation
		running  *archon
		upstream *gatewaytest.Server
		admin    string
	)

	BeforeAll(func(ctx SpecContext) {
		var err error
		server, err = secretstest.StartVault(ctx)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(server.Stop)
		AddReportEntry("e2e: Vault was", server.Variant)
		fmt.Fprintln(os.Stdout, "e2e: Archon's secrets are in", server.Variant)

		vault = newGate(server.Address)
		place = install("ARCHON_VAULT_ADDR="+vault.address(), "ARCHON_VAULT_TOKEN="+server.Token)
		running = place.start()
		upstream = provider()
		admin = place.token("acme", "ada", "admin")
	})

	// appended is how many events the tenant has.
	appended := func() int {
		GinkgoHelper()
		return len(place.log("acme"))
	}

	register := func(name string) reply {
		GinkgoHelper()
		return place.must(http.MethodPost, providersPath, admin, body(name, upstream.URL))
	}

	It("keeps a provider's secret under the documented path and nowhere else", func() {
		registered := register("OpenAI")
		Expect(registered.status).To(Equal(http.StatusCreated), registered.body)
		id, _ := registered.data()["id"].(string)
		Expect(registered.data()).To(HaveKeyWithValue("vault_path", "secret/tenants/acme/providers/"+id))
		Expect(keysIn(server, "tenants/acme/providers")).To(ConsistOf(id))
		Expect(secretIn(server, "tenants/acme/providers/"+id)).To(ContainElement(canary))

		Expect(place.must(http.MethodPost, providersPath+"/"+id+"/test-connection", admin, nil).data()).To(HaveKeyWithValue("ok", true))
		Expect(dump(place)).NotTo(ContainSubstring(canary))
		Expect(filepath.Join(place.dir, "secrets")).NotTo(BeADirectory(), "there is no embedded store beside it")
	})

	It("refuses with 503 what needs a secret while Vault is away, and does everything else", func() {
		id, _ := place.must(http.MethodGet, providersPath, admin, nil).list()[0]["id"].(string)
		doomed, _ := register("Doomed").data()["id"].(string)
		before, keys := appended(), keysIn(server, "tenants/acme/providers")
		Expect(keys).To(ConsistOf(id, doomed))
		vault.close()
		Eventually(running.stateOfHealth("secrets")).WithTimeout(bound).Should(Equal("degraded, secrets unavailable"))

		for _, refused := range []reply{
			register("Another"),
			place.must(http.MethodPut, providersPath+"/"+id+"/credentials", admin, map[string]any{"api_key": rotatedKey}),
			place.must(http.MethodPost, providersPath+"/"+id+"/test-connection", admin, nil),
			place.must(http.MethodPatch, providersPath+"/"+id, admin, map[string]any{"custom_headers": map[string]string{"X-Team": "blue"}}),
		} {
			Expect(refused.status).To(Equal(http.StatusServiceUnavailable), refused.body)
			Expect(refused.code()).To(Equal("unavailable"))
			Expect(refused.header.Get("Retry-After")).NotTo(BeEmpty())
		}
		Expect(appended()).To(Equal(before), "nothing happened, so there is nothing to record")

		By("reading, and changing what is no secret")
		Expect(place.must(http.MethodDelete, providersPath+"/"+doomed, admin, nil).status).To(Equal(http.StatusNoContent))
		Expect(names(place.must(http.MethodGet, providersPath, admin, nil).list())).To(ConsistOf("OpenAI"))
		Expect(place.must(http.MethodGet, "/api/v1/audit", admin, nil).list()[0]).To(HaveKeyWithValue("actor", "ada"))
		changed := place.must(http.MethodPatch, providersPath+"/"+id, admin, map[string]any{"is_enabled": false, "rate_limit_rpm": 60})
		Expect(changed.status).To(Equal(http.StatusOK), changed.body)
		Expect(changed.data()).To(And(HaveKeyWithValue("is_enabled", false), HaveKeyWithValue("health_status", "healthy")))

		By("coming back")
		vault.open()
		Eventually(running.stateOfHealth("secrets")).WithTimeout(bound).Should(Equal("ok, secrets ok"))
		Eventually(func() []string { return keysIn(server, "tenants/acme/providers") }).WithTimeout(bound).Should(
			ConsistOf(id), "the deleted provider's secret goes now, and what was refused has left none")
		again := register("Another")
		Expect(again.status).To(Equal(http.StatusCreated), again.body)
		other, _ := again.data()["id"].(string)
		upstreamTakes := place.must(http.MethodPut, providersPath+"/"+id+"/credentials", admin, map[string]any{"api_key": canary})
		Expect(upstreamTakes.status).To(Equal(http.StatusOK), upstreamTakes.body)
		Expect(keysIn(server, "tenants/acme/providers")).To(ConsistOf(id, other))
	})

	It("keeps the old key in use where the new one is refused by the provider", func() {
		id, _ := place.must(http.MethodGet, providersPath, admin, nil).list()[0]["id"].(string)
		refused := place.must(http.MethodPut, providersPath+"/"+id+"/credentials", admin, map[string]any{"api_key": rotatedKey})
		Expect(refused.status).To(Equal(http.StatusUnprocessableEntity), refused.body)
		Expect(refused.code()).To(Equal("credential_test_failed"))
		Expect(refused.body).NotTo(ContainSubstring(rotatedKey))
		Expect(secretIn(server, "tenants/acme/providers/"+id)).NotTo(ContainElement(rotatedKey))
		Expect(place.must(http.MethodPost, providersPath+"/"+id+"/test-connection", admin, nil).data()).To(HaveKeyWithValue("ok", true))
		Expect(dump(place)).NotTo(ContainSubstring(rotatedKey))
		place.expectVerified("acme")
		Expect(running.output.String()).NotTo(Or(ContainSubstring(canary), ContainSubstring(rotatedKey), ContainSubstring(server.Token)))
	})

	It("starts with an AppRole, and says what is wrong where Vault does not know it", func() {
		Expect(running.terminate()).To(Equal(0), running.output.String())
		roleID, secretID := appRoleOf(server)
		place.env = []string{"ARCHON_VAULT_ADDR=" + vault.address(), "ARCHON_VAULT_ROLE_ID=" + roleID, "ARCHON_VAULT_SECRET_ID=" + secretID}
		running = place.start()
		for _, listed := range place.must(http.MethodGet, providersPath, admin, nil).list() {
			id, _ := listed["id"].(string)
			Expect(place.must(http.MethodPost, providersPath+"/"+id+"/test-connection", admin, nil).data()).To(HaveKeyWithValue("ok", true))
		}
		third := register("Third")
		Expect(third.status).To(Equal(http.StatusCreated), third.body)
		Expect(keysIn(server, "tenants/acme/providers")).To(ContainElement(third.data()["id"]))
		Expect(running.terminate()).To(Equal(0), running.output.String())

		place.env = []string{"ARCHON_VAULT_ADDR=" + vault.address(), "ARCHON_VAULT_ROLE_ID=" + roleID, "ARCHON_VAULT_SECRET_ID=wrong-" + secretID}
		_, stderr, code := place.run("serve")
		Expect(code).To(Equal(1))
		Expect(stderr).To(ContainSubstring("vault does not know this AppRole"))
		Expect(stderr).NotTo(ContainSubstring(secretID))
	})
})

// gate stands before a server and lets nobody through while it is closed.
type gate struct {
	to       string
	listener net.Listener

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]bool
}

func newGate(serverURL string) *gate {
	GinkgoHelper()
	parsed, err := url.Parse(serverURL)
	Expect(err).NotTo(HaveOccurred())
	g := &gate{to: parsed.Host, conns: map[net.Conn]bool{}}
	g.listener, err = net.Listen("tcp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() {
		g.close()
		Expect(g.listener.Close()).To(Succeed())
	})
	go g.serve()
	return g
}

func (g *gate) address() string { return "http://" + g.listener.Addr().String() }

func (g *gate) serve() {
	for {
		in, err := g.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", g.to)
		if err != nil || !g.admit(in, out) {
			_ = in.Close()
			continue
		}
		pass := func(to, from net.Conn) {
			_, _ = io.Copy(to, from)
			_, _ = to.Close(), from.Close()
		}
		go pass(in, out)
		go pass(out, in)
	}
}

func (g *gate) admit(pair ...net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, conn := range pair {
		if g.closed {
			_ = conn.Close()
			continue
		}
		g.conns[conn] = true
	}
	return !g.closed
}

// close cuts every connection and takes no more.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for conn := range g.conns {
		_ = conn.Close()
	}
	clear(g.conns)
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = false
}

// askVault sends a request to Vault itself, as an operator does.
func askVault(server secretstest.Server, method, path string, sent any) (int, []byte) {
	GinkgoHelper()
	encoded, err := json.Marshal(sent)
	Expect(err).NotTo(HaveOccurred())
	var content io.Reader = http.NoBody
	if sent != nil {
		content = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(context.Background(), method, server.Address+"/v1/"+path, content)
	Expect(err).NotTo(HaveOccurred())
	request.Header.Set("X-Vault-Token", server.Token)
	response, err := client.Do(request)
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	Expect(err).NotTo(HaveOccurred())
	return response.StatusCode, answer
}

// readVault is the data of Vault's answer to a GET, into a value.
func readVault(server secretstest.Server, path string, into any) {
	GinkgoHelper()
	status, answer := askVault(server, http.MethodGet, path, nil)
	Expect(status).To(Equal(http.StatusOK), string(answer))
	Expect(json.Unmarshal(answer, &struct{ Data any }{into})).To(Succeed())
}

// keysIn lists what is below a path of the engine at secret/.
func keysIn(server secretstest.Server, path string) []string {
	GinkgoHelper()
	var listed struct{ Keys []string }
	readVault(server, "secret/metadata/"+path+"?list=true", &listed)
	return listed.Keys
}

// secretIn is the newest version of the secret at a path of the engine at secret/.
func secretIn(server secretstest.Server, path string) map[string]any {
	GinkgoHelper()
	var read struct{ Data map[string]any }
	readVault(server, "secret/data/"+path, &read)
	return read.Data
}

// appRoleOf makes a role that may do what Archon needs, with the policy of the documentation.
func appRoleOf(server secretstest.Server) (roleID, secretID string) {
	GinkgoHelper()
	if server.Fake != nil {
		return server.Fake.AddRole(0, 0)
	}
	const policy = `path "secret/*" { capabilities = ["create", "read", "update", "patch", "delete", "list"] }`
	for _, step := range []struct {
		path string
		sent map[string]any
	}{
		{"sys/auth/approle", map[string]any{"type": "approle"}},
		{"sys/policies/acl/archon-e2e", map[string]any{"policy": policy}},
		{"auth/approle/role/archon-e2e", map[string]any{"token_policies": []string{"archon-e2e"}}},
	} {
		status, answer := askVault(server, http.MethodPost, step.path, step.sent)
		inUse := bytes.Contains(answer, []byte("path is already in use"))
		Expect(inUse || status < http.StatusMultipleChoices).To(BeTrue(), string(answer))
	}
	var role struct {
		ID string `json:"role_id"`
	}
	readVault(server, "auth/approle/role/archon-e2e/role-id", &role)
	status, answer := askVault(server, http.MethodPost, "auth/approle/role/archon-e2e/secret-id", map[string]any{})
	Expect(status).To(Equal(http.StatusOK), string(answer))
	var made struct {
		Data struct {
			ID string `json:"secret_id"`
		} `json:"data"`
	}
	Expect(json.Unmarshal(answer, &made)).To(Succeed())
	return role.ID, made.Data.ID
}
