package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/coder/websocket"
	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/gatewaytest"
)

// opens opens a socket; a token may be empty.
func (i *installation) opens(ctx context.Context, query, token string) (*websocket.Conn, *http.Response, error) {
	headers := http.Header{}
	if token != "" {
		headers.Set("Authorization", "Bearer "+token)
	}
	conn, response, err := websocket.Dial(ctx, "ws://"+i.addr+"/ws/events?"+query, &websocket.DialOptions{HTTPHeader: headers})
	if err == nil {
		DeferCleanup(func() { _ = conn.CloseNow() })
	}
	return conn, response, err //nolint:wrapcheck // a test
}

// nextEvent is the next event of a socket.
func nextEvent(ctx context.Context, conn *websocket.Conn) map[string]any {
	GinkgoHelper()
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	for {
		_, text, err := conn.Read(ctx)
		Expect(err).NotTo(HaveOccurred())
		var frame map[string]any
		Expect(json.Unmarshal(text, &frame)).To(Succeed())
		if frame["type"] == "event" {
			return frame
		}
	}
}

// follows starts `archon events tail` through the server; what it prints is kept.
func (i *installation) follows(arguments ...string) (*exec.Cmd, *output) {
	GinkgoHelper()
	cmd, out := i.command(append([]string{"events", "tail", "--server", "http://" + i.addr}, arguments...)...), &output{}
	cmd.Stdout = out
	Expect(cmd.Start()).To(Succeed())
	DeferCleanup(func() { _ = cmd.Process.Kill() })
	return cmd, out
}

var _ = Describe("Sockets", Label("e2e"), func() {
	// counting changes a provider n times, each an event.
	counting := func(s *installation, token, id string, n int) {
		GinkgoHelper()
		for range n {
			r := s.must(http.MethodPatch, providersPath+"/"+id, token, map[string]any{"rate_limit_rpm": 1 + time.Now().UnixNano()%1_000_000_000}, header{"Prefer": "respond-async"})
			Expect(r.status).To(Equal(http.StatusOK), r.body)
		}
	}

	It("are followed through kill -9 and restarts without a gap or a repetition", func() {
		place := install()
		running := place.start()
		upstream := upstreamOf(gateway.OpenAI, gatewaytest.Options{})
		admin := place.token("acme", "ada", "admin")
		registered := place.must(http.MethodPost, providersPath, admin, openAI("First", upstream.URL, canary))
		Expect(registered.status).To(Equal(http.StatusCreated))
		id := registered.data()["id"].(string)
		all, printed := place.follows("--token", admin, "--after", "0")
		_, few := place.follows("--token", place.token("acme", "vera", "viewer"), "--after", "0", "--types", "providerhealth.*,providername.*")
		for round := range 6 {
			counting(place, admin, id, 20)
			if round%3 == 2 {
				Expect(running.terminate()).To(Equal(0), running.output.String())
			} else {
				running.kill()
			}
			running = place.start()
		}
		counting(place, admin, id, 20)
		const total = 3 + 7*20
		Eventually(func() int { return strings.Count(printed.String(), "\n") }).WithTimeout(bound).Should(BeNumerically(">=", total))
		whole, stderr, code := place.run("events", "tail", "--tenant", "acme", "--after", "0", "--follow=false")
		Expect(code).To(Equal(0), stderr)
		Expect(printed.String()).To(Equal(whole), "through the server as from the database")
		paged, stderr, code := place.run("events", "tail", "--server", "http://"+place.addr, "--token", admin, "--after", "0", "--follow=false")
		Expect(code).To(Equal(0), stderr)
		Expect(paged).To(Equal(whole), "and by pages")
		Expect(few.String()).To(MatchRegexp(`^\{"position":2,"stream":"providername-[^"]*","type":"providername.claimed.v1"\}\n\{"position":3,"stream":"providerhealth-[^"]*","type":"providerhealth.probed.v1"\}\n$`))
		Expect(all.Process.Signal(syscall.SIGINT)).To(Succeed())
		Expect(all.Wait()).To(Succeed(), "an interrupted tail ends well")
	})

	It("say at the command line what the server refuses", func() {
		place := install()
		place.start()
		admin, server := place.token("acme", "ada", "admin"), "http://"+place.addr
		for arguments, said := range map[string]string{
			"--server " + server + " --token nonsense":                                                              "401",
			"--server " + server + " --after 99 --token " + admin:                                                   "beyond the end",
			"--server " + server + " --streams a*b --token " + admin:                                                "streams",
			"--server " + server + " --after 0 --follow=false --types , --token " + admin:                           "type",
			"--server " + server + "/docs --token " + admin:                                                         "an Archon's address",
			"--server " + server + " --token " + place.token("acme", "ada", "viewer") + " --follow=false --after 0": "403",
		} {
			_, stderr, code := place.run(append([]string{"events", "tail"}, strings.Fields(arguments)...)...)
			Expect(code).To(Equal(1), arguments)
			Expect(stderr).To(ContainSubstring(said), arguments)
			Expect(stderr).NotTo(ContainSubstring(admin), arguments)
		}
		for _, arguments := range []string{"--server x --token y", "--server http://x", "--token y", "--server http://x --token y --tenant acme", "--types x"} {
			_, _, code := place.run(append([]string{"events", "tail"}, strings.Fields(arguments)...)...)
			Expect(code).To(Equal(2), arguments)
		}
		cmd := place.command("events", "tail", "--server", server, "--token", "-", "--after", "0", "--follow=false")
		cmd.Stdin = bytes.NewBufferString(admin + "\n")
		Expect(cmd.CombinedOutput()).To(BeEmpty(), "a token from standard input")
	})

	It("get what is written on other nodes, with Redis and without", func(ctx context.Context) {
		redis := miniredis.RunT(GinkgoT())
		shared := "ARCHON_REDIS_URL=redis://" + redis.Addr()
		place := install(loopbackAllowed, shared)
		first := place.start()
		with, without := place.beside().start("serve"), place.beside("ARCHON_REDIS_URL=redis://127.0.0.1:1").start("serve")
		upstream := upstreamOf(gateway.OpenAI, gatewaytest.Options{})
		admin := place.token("acme", "ada", "admin")
		registered := first.must(http.MethodPost, providersPath, admin, openAI("First", upstream.URL, canary))
		Expect(registered.status).To(Equal(http.StatusCreated))
		id := registered.data()["id"].(string)
		var sockets []*websocket.Conn
		for _, node := range []*archon{first, with, without} {
			conn, response, err := node.opens(ctx, "after=3", admin)
			Expect(err).NotTo(HaveOccurred(), "%v", response)
			sockets = append(sockets, conn)
		}
		stranger, _, err := with.opens(ctx, "after=0", place.token("globex", "eve", "admin"))
		Expect(err).NotTo(HaveOccurred())
		for position := 4; position < 24; position++ {
			counting([]*archon{first, with, without}[position%3].installation, admin, id, 1)
			for _, conn := range sockets {
				Expect(nextEvent(ctx, conn)).To(And(HaveKeyWithValue("position", float64(position)), HaveKeyWithValue("stream", "provider-"+id), HaveKey("data")))
			}
			if position == 14 {
				redis.Close() // from here on polling has to do
			}
		}
		theirs := first.must(http.MethodPost, providersPath, place.token("globex", "eve", "admin"), openAI("Theirs", upstream.URL, canary))
		Expect(theirs.status).To(Equal(http.StatusCreated))
		Expect(nextEvent(ctx, stranger)).To(And(HaveKeyWithValue("tenant_id", "globex"), HaveKeyWithValue("position", 1.0)), "nothing of another tenant came before")
	})

	It("open by ticket, once, as who it was made for, on any node", func(ctx context.Context) {
		place := install("ARCHON_REDIS_URL=redis://" + miniredis.RunT(GinkgoT()).Addr())
		first := place.start()
		s, second := surfaceOf(first), place.beside().start("serve")
		upstream := upstreamOf(gateway.OpenAI, gatewaytest.Options{})
		s.register(s.token("acme", "ada", "admin"), openAI("First", upstream.URL, canary))
		ticket := func(role string, headers ...header) reply {
			GinkgoHelper()
			r := s.ask(http.MethodPost, ticketPath, s.token("acme", "ada", role), nil, headers...)
			Expect(r.status).To(Equal(http.StatusOK), r.body)
			Expect(r.eventPosition()).To(BeEquivalentTo(3), "where a socket may begin")
			return r
		}
		for role, sees := range map[string]bool{"viewer": false, "auditor": true} {
			given := ticket(role).data()["ticket"].(string)
			conn, response, err := second.opens(ctx, "after=0&ticket="+given, "")
			Expect(err).NotTo(HaveOccurred(), "%v", response)
			_, shown := nextEvent(ctx, conn)["data"]
			Expect(shown).To(Equal(sees), role)
			for _, node := range []*archon{first, second} {
				_, response, err = node.opens(ctx, "ticket="+given, "")
				Expect(err).To(HaveOccurred())
				Expect(response.StatusCode).To(Equal(http.StatusUnauthorized))
			}
			Expect(first.output.String()+second.output.String()).NotTo(ContainSubstring(given), "a ticket is in no log")
		}
		key := header{"Idempotency-Key": uuid.NewString()}
		once, again := ticket("viewer", key), ticket("viewer", key)
		Expect(once.data()["ticket"]).To(BeAssignableToTypeOf(""))
		Expect(again.data()).To(And(HaveKeyWithValue("ticket", BeNil()), HaveKeyWithValue("expires_at", once.data()["expires_at"])))
		Expect(again.header.Get("Idempotent-Replayed")).To(Equal("true"))
		Expect(dump(place)).NotTo(ContainSubstring(fmt.Sprint(once.data()["ticket"])), "it is stored nowhere")
		Expect(s.head(s.token("acme", "ada", "admin"))).To(BeEquivalentTo(3), "a ticket is no event")
	})
})
