package cli_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/gatewaytest"
)

// Exit codes, as README has them.
const (
	good   = 0
	failed = 1
	usage  = 2
)

var _ = Describe("The command line", Ordered, ContinueOnFailure, Label("e2e"), func() {
	var place *installation

	BeforeAll(func() { place = install() })

	// exits runs a command for its exit code.
	exits := func(code int, args ...string) (stdout, stderr string) {
		GinkgoHelper()
		stdout, stderr, got := place.run(args...)
		Expect(got).To(Equal(code), strings.Join(args, " ")+"\n"+stdout+stderr)
		return stdout, stderr
	}

	// says is exits for commands that start nothing, and so need no process of their own.
	says := func(code int, args ...string) (stdout, stderr string) {
		GinkgoHelper()
		stdout, stderr, got := place.inProcess(args...)
		Expect(got).To(Equal(code), strings.Join(args, " ")+"\n"+stdout+stderr)
		return stdout, stderr
	}

	It("answers a mistake with exit code 2 and a sentence, and does nothing", func() {
		for mistake, said := range map[string]string{
			"bogus": "bogus", "audit": "subcommands", "audit bogus": "bogus", "projections": "subcommands", "events": "subcommands", "costs": "subcommands", "costs check extra": "extra", "bench": "subcommands",
			"--bogus": "--bogus", "serve --bogus": "--bogus", "serve --roles": "--roles", "serve --roles king": "api, projector, worker", "serve --roles=": "--roles",
			"dev extra": "extra", "version extra": "extra", "dsn extra": "extra", "audit verify extra": "extra", "migrate extra": "extra", "health extra": "extra",
			"token": "--tenant", "token --tenant acme": "--user", "token --tenant acme --user ada": "--role", "token --tenant Acme --user ada --role admin": "--tenant",
			"token --tenant acme --user ada --role king": "viewer, operator, admin, auditor", "token --tenant acme --user ada --role admin --ttl soon": "--ttl",
			"token --tenant acme --user ada --role admin --ttl 0s": "--ttl", "token --tenant acme --user ada --role admin --ttl 100000h": "--ttl",
			"token --tenant acme --user ada --role admin --ttl -1h": "--ttl", "token --tenant acme --user ada --role admin --department a\u007fb": "--department",
			"events tail --after x": "--after", "events tail --after -1": "--after", "projections retry": "1 arg", "help bogus": "bogus", "help audit bogus": "audit bogus",
			"bench append --callers x": "--callers",
		} {
			stdout, stderr := says(usage, strings.Fields(mistake)...)
			Expect(stderr).To(And(HavePrefix("archon: "), ContainSubstring(said), ContainSubstring("archon help")), mistake)
			Expect(stdout).To(BeEmpty(), mistake)
			Expect(stderr).NotTo(ContainSubstring("goroutine"), mistake)
		}
		Expect(filepath.Join(place.dir, "postgres")).NotTo(BeADirectory(), "no mistake starts a database")
	})

	It("helps", func() {
		bare, _ := says(good)
		help, _ := says(good, "help")
		flag, _ := says(good, "--help")
		for _, text := range []string{bare, flag} {
			Expect(text).To(HavePrefix(help[:strings.Index(help, "Usage:")]))
		}
		for _, command := range []string{"dev", "serve", "migrate", "token", "audit", "events", "projections", "costs", "dsn", "bench", "version", "health"} {
			Expect(help).To(MatchRegexp(`(?m)^  ` + command + ` `))
			about, _ := says(good, "help", command)
			Expect(about).To(ContainSubstring("archon " + command))
		}
		version, stderr := exits(good, "version")
		Expect(version).To(Equal("test\n"))
		Expect(stderr).To(BeEmpty())
		flagged, _ := says(good, "--version")
		Expect(flagged).To(Equal(version))
	})

	It("lists every setting, as the documentation does", func() {
		help, _ := says(good, "help", "config")
		for _, name := range []string{
			"HTTP_ADDR", "DATA_DIR", "DATABASE_URL", "REDIS_URL", "VAULT_ADDR", "OIDC_ISSUER", "OIDC_AUDIENCE", "OIDC_TENANT_CLAIM", "OIDC_ROLES_CLAIM", "PROVIDER_ALLOWED_CIDRS", "LOG_LEVEL",
		} {
			Expect(help).To(ContainSubstring("ARCHON_" + name))
		}
		documented, err := os.ReadFile("../../../docs/configuration.md")
		Expect(err).NotTo(HaveOccurred())
		inDocs := regexp.MustCompile("(?m)^\\| `(ARCHON_[A-Z_]+)`").FindAllSubmatch(documented, -1)
		Expect(len(inDocs)).To(BeNumerically(">", 20))
		for _, match := range inDocs {
			Expect(help).To(MatchRegexp(`(?m)^  ` + string(match[1]) + `( \(secret\))?$`))
		}
	})

	It("refuses a malformed setting with a sentence that says how to mend it", func() {
		for _, example := range []struct{ variable, said string }{
			{"ARCHON_HTTP_ADDR=nonsense", "host:port"},
			{"ARCHON_HTTP_ADDR=localhost:http", "port"},
			{"ARCHON_LOG_LEVEL=loud", "debug, info, warn or error"},
			{"ARCHON_PROVIDER_ALLOWED_CIDRS=10.0.0.0/33", "CIDR"},
			{"ARCHON_SHUTDOWN_TIMEOUT=20", "20s"},
			{"ARCHON_PROBE_INTERVAL=1ms", "1s"},
			{"ARCHON_DATABASE_URL=mysql://ada:" + canary + "@db/x", "postgres://"},
			{"ARCHON_REDIS_URL=http://:" + canary + "@redis", "redis://"},
			{"ARCHON_VAULT_ADDR=vault:8200", "http"},
			{"ARCHON_OIDC_ISSUER=keycloak", "http"},
			{"ARCHON_DATABASE_MAX_CONNS=0", "1"},
			{"ARCHON_VAULT_ADDR=http://127.0.0.1:1", "ARCHON_VAULT_TOKEN"},
		} {
			name, _, _ := strings.Cut(example.variable, "=")
			broken := &installation{dir: place.dir, addr: place.addr, env: []string{example.variable}}
			if name == "ARCHON_HTTP_ADDR" {
				broken.addr = strings.TrimPrefix(example.variable, name+"=")
			}
			for _, command := range []string{"dev", "migrate", "version"} {
				_, stderr, code := broken.inProcess(command)
				if command == "version" {
					Expect(code).To(Equal(good), "the version needs no settings")
					continue
				}
				Expect(code).To(Equal(usage), example.variable+stderr)
				Expect(stderr).To(And(ContainSubstring(name), ContainSubstring(example.said)), stderr)
				Expect(stderr).NotTo(ContainSubstring(canary))
			}
		}
	})

	It("prints a token alone, with nothing on stderr, and warns of unknown settings elsewhere", func() {
		misspelt := &installation{dir: place.dir, addr: place.addr, env: []string{"ARCHON_HTP_ADDR=x", "ARCHON_LOG_LEVL=debug"}}
		stdout, stderr, code := misspelt.inProcess("token", "--tenant", "acme", "--user", "ada@example.com", "--role", "viewer", "--role", "auditor", "--ttl", "90s")
		Expect(code).To(Equal(good), stderr)
		Expect(stderr).To(BeEmpty())
		Expect(stdout).To(MatchRegexp(`^[\w-]+\.[\w-]+\.[\w-]+\n$`))
		again, _, _ := misspelt.inProcess("token", "--tenant", "acme", "--user", "ada@example.com", "--role", "viewer")
		Expect(strings.Split(again, ".")[0]).To(Equal(strings.Split(stdout, ".")[0]), "the same key")
		_, stderr, code = misspelt.run("projections", "list")
		Expect(code).To(Equal(good), stderr)
		Expect(stderr).To(And(ContainSubstring("ARCHON_HTP_ADDR"), ContainSubstring("ARCHON_HTTP_ADDR"), ContainSubstring("ARCHON_LOG_LEVEL")))
	})

	It("prints the connection strings, as the last line", func() {
		for _, owner := range []bool{false, true} {
			args := []string{"dsn"}
			if owner {
				args = append(args, "--owner")
			}
			stdout, _ := exits(good, args...)
			lines := strings.Split(strings.TrimSpace(stdout), "\n")
			ctx, conn := connect(lines[len(lines)-1])
			Expect(one[bool](ctx, conn, "select rolsuper from pg_roles where rolname = current_user")).To(Equal(owner))
			Expect(one[string](ctx, conn, "select to_regclass('events')::text")).To(Equal("events"), "in the search path")
		}
		_, stderr, code := (&installation{dir: place.dir, addr: place.addr, env: []string{"ARCHON_DATABASE_URL=postgres://db/archon"}}).run("dsn")
		Expect(code).To(Equal(failed))
		Expect(stderr).To(ContainSubstring("ARCHON_DATABASE_URL"))
	})

	It("works beside a running Archon and without one", func() {
		_, stderr := exits(failed, "health")
		Expect(stderr).To(ContainSubstring("ask for the health"))
		stdout, _ := exits(good, "migrate")
		Expect(stdout).To(MatchRegexp(`^schema version \d+\n$`))
		stdout, _ = exits(good, "audit", "verify")
		Expect(stdout).To(Equal("no tenant has events yet\n"))
		running := place.start()
		stdout, _ = exits(good, "health")
		Expect(stdout).To(ContainSubstring(`"status":"ok"`))
		stdout, _ = exits(good, "migrate")
		Expect(stdout).To(MatchRegexp(`^schema version \d+\n$`))

		By("refusing a second one on the same address")
		second := install()
		second.addr = place.addr
		_, stderr, code := second.run("dev")
		Expect(code).To(Equal(failed))
		Expect(stderr).To(And(ContainSubstring("address already in use"), ContainSubstring("ARCHON_HTTP_ADDR")))
		Expect(running.terminate()).To(Equal(good))
	})

	It("shows projections, verifies the log and follows the events", func() {
		running := place.start()
		s := surfaceOf(running)
		upstream := upstreamOf(gateway.OpenAI, gatewaytest.Options{})
		admin := place.token("acme", "ada", "admin")
		other := place.token("other", "ada", "admin")
		s.register(admin, openAI("First", upstream.URL, canary))
		s.register(other, openAI("First", upstream.URL, canary))

		By("following from the beginning into the live tail")
		tail := place.command("events", "tail", "--tenant", "acme", "--after", "0")
		stdout, err := tail.StdoutPipe()
		Expect(err).NotTo(HaveOccurred())
		Expect(tail.Start()).To(Succeed())
		DeferCleanup(func() { _ = tail.Process.Kill() })
		lines := make(chan map[string]any, 100)
		go func() {
			defer close(lines)
			for scanner := bufio.NewScanner(stdout); scanner.Scan(); {
				var line map[string]any
				if json.Unmarshal(scanner.Bytes(), &line) != nil {
					line = map[string]any{"broken": scanner.Text()}
				}
				lines <- line
			}
		}()
		next := func() map[string]any {
			GinkgoHelper()
			var line map[string]any
			Eventually(lines).WithTimeout(bound).Should(Receive(&line))
			return line
		}
		for position := range 3 {
			line := next()
			Expect(keys(line)).To(ConsistOf("tenant_id", "position", "stream", "version", "event_id", "type", "occurred_at", "command_id", "meta", "data", "prev_hash", "hash"))
			Expect(line).To(And(HaveKeyWithValue("tenant_id", "acme"), HaveKeyWithValue("position", float64(position+1)), HaveKeyWithValue("hash", MatchRegexp(hexHash))))
			Expect(line["meta"]).To(BeAssignableToTypeOf(""), "the exact bytes, as text")
			Expect(line["occurred_at"]).To(MatchRegexp(`\.\d{6}Z$`))
		}
		s.register(admin, openAI("Second", upstream.URL, canary))
		for position := range 3 {
			Expect(next()).To(HaveKeyWithValue("position", float64(position+4)))
		}
		Expect(tail.Process.Signal(syscall.SIGINT)).To(Succeed())
		Eventually(lines).WithTimeout(bound).Should(BeClosed())
		Expect(tail.Wait()).To(Succeed(), "an interrupted tail ends well")
		text, _ := exits(good, "events", "tail", "--tenant", "acme", "--after", "4", "--follow=false")
		Expect(strings.Count(text, "\n")).To(Equal(2))
		text, _ = exits(good, "events", "tail", "--after", "0", "--follow=false")
		Expect(strings.Count(text, "\n")).To(Equal(9), "of all tenants")

		By("showing the projections")
		text, _ = exits(good, "projections", "list")
		Expect(text).To(And(MatchRegexp(`(?m)^NAME +VERSION +STATUS +POSITION +HEAD`), MatchRegexp(`(?m)^providers +1 +live +9 +9 +0`), MatchRegexp(`(?m)^audit_index +1 +live +9 +9 +0`)))
		text, _ = exits(good, "projections", "list", "--tenant", "other", "--json")
		for line := range strings.Lines(text) {
			var state map[string]any
			Expect(json.Unmarshal([]byte(line), &state)).To(Succeed(), line)
			Expect(state).To(And(HaveKeyWithValue("position", 3.0), HaveKeyWithValue("head", 3.0)))
		}
		text, _ = exits(good, "projections", "retry", "providers")
		Expect(text).To(ContainSubstring("0 tenants"))
		_, stderr := exits(failed, "projections", "retry", "nothing")
		Expect(stderr).To(ContainSubstring("nothing"))

		By("verifying")
		text, _ = exits(good, "audit", "verify")
		Expect(strings.Split(strings.TrimSpace(text), "\n")).To(ConsistOf(MatchRegexp(`^acme: ok, 6 events, head 6 [0-9a-f]{64}$`), MatchRegexp(`^other: ok, 3 events, head 3 [0-9a-f]{64}$`)))
		forge(place, `update events set type = 'provider.deleted.v1' where tenant_id = 'acme' and position = 4`)
		text, _ = exits(failed, "audit", "verify")
		Expect(text).To(And(MatchRegexp(`(?m)^acme: TAMPERED, first bad position 4: .+$`), MatchRegexp(`(?m)^other: ok`)))
		exits(good, "audit", "verify", "--tenant", "other")
		exits(failed, "audit", "verify", "--tenant", "acme")
		text, _ = exits(good, "audit", "verify", "--tenant", "nobody")
		Expect(text).To(ContainSubstring("0 events"))
		Expect(running.terminate()).To(Equal(good))
	})

	It("tells a new user where everything is", func() {
		place.env = append(place.env, "ARCHON_LOG_LEVEL=warn")
		running := place.start()
		said := running.output.String()
		Expect(said).To(And(ContainSubstring("http://"+place.addr+"\n"), ContainSubstring(place.dir), ContainSubstring("/docs")))
		words := regexp.MustCompile(`curl -s (\S+) -H 'Authorization: Bearer (\S+)'`).FindStringSubmatch(said)
		Expect(words).To(HaveLen(3), said)
		Expect(place.must(http.MethodGet, strings.TrimPrefix(words[1], "http://"+place.addr), words[2], nil).status).To(Equal(http.StatusOK), "ready to paste")
		Expect(said).NotTo(ContainSubstring("level=INFO"))
	})
})
