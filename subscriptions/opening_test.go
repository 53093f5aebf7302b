package subscriptions_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/internal/auth"
	"github.com/archonhq/archon/subscriptions"
)

// refused is the error of an answer.
func refused(response *http.Response) (code string, details map[string]any) {
	GinkgoHelper()
	Expect(response).NotTo(BeNil())
	body, err := io.ReadAll(response.Body)
	Expect(err).NotTo(HaveOccurred())
	var envelope struct {
		Error struct {
			Code    string
			Details map[string]any
		}
	}
	Expect(json.Unmarshal(body, &envelope)).To(Succeed(), string(body))
	return envelope.Error.Code, envelope.Error.Details
}

var _ = Describe("Opening a socket", func() {
	It("takes what is wrong apart", func(ctx context.Context) {
		n, tenant := start(subscriptions.Config{Origins: []string{"https://console.example.com"}}), newTenant()
		write(ctx, tenant, 5, 10)
		viewer := "viewer." + tenant
		for name, c := range map[string]struct {
			how    dialled
			status int
			code   string
		}{
			"no token":                  {dialled{}, 401, "unauthenticated"},
			"a bad token":               {dialled{token: "nonsense"}, 401, "unauthenticated"},
			"a token in the URL":        {dialled{query: "token=viewer." + tenant}, 400, "invalid_parameter"},
			"a role that is none":       {dialled{token: "visitor." + tenant}, 403, "forbidden"},
			"an unknown ticket":         {dialled{query: "ticket=nonsense"}, 401, "unauthenticated"},
			"ticket and token":          {dialled{token: viewer, query: "ticket=x"}, 400, "bad_request"},
			"two tokens":                {dialled{token: viewer, protocols: []string{"eyJ.viewer." + tenant}}, 400, "bad_request"},
			"an unknown filter":         {dialled{token: viewer, query: "stream=a-1"}, 400, "invalid_parameter"},
			"a filter twice":            {dialled{token: viewer, query: "streams=a&streams=b"}, 400, "invalid_parameter"},
			"a filter that is none":     {dialled{token: viewer, query: "streams=a*b"}, 400, "invalid_parameter"},
			"too many names":            {dialled{token: viewer, query: "types=" + strings.Repeat("a,", 60) + "a"}, 400, "invalid_parameter"},
			"a long name":               {dialled{token: viewer, query: "types=" + strings.Repeat("a", 5000)}, 400, "invalid_parameter"},
			"a huge query":              {dialled{token: viewer, query: "types=" + strings.Repeat("a", 30_000)}, 400, "invalid_parameter"},
			"a query that is none":      {dialled{token: viewer, query: "streams=%zz"}, 400, "invalid_parameter"},
			"no position":               {dialled{token: viewer, query: "after=x"}, 400, "invalid_parameter"},
			"a negative one":            {dialled{token: viewer, query: "after=-1"}, 400, "invalid_parameter"},
			"one beyond the end":        {dialled{token: viewer, query: "after=6"}, 400, "invalid_parameter"},
			"another site":              {dialled{token: viewer, header: http.Header{"Origin": {"https://evil.example.com"}}}, 403, "origin_not_allowed"},
			"a site by another scheme":  {dialled{token: viewer, header: http.Header{"Origin": {"http://console.example.com"}}}, 403, "origin_not_allowed"},
			"a site below":              {dialled{token: viewer, header: http.Header{"Origin": {"https://console.example.com.evil.com"}}}, 403, "origin_not_allowed"},
			"an opaque origin":          {dialled{token: viewer, header: http.Header{"Origin": {"null"}}}, 403, "origin_not_allowed"},
			"an empty origin":           {dialled{token: viewer, header: http.Header{"Origin": {""}}}, 403, "origin_not_allowed"},
			"an origin that is no URL":  {dialled{token: viewer, header: http.Header{"Origin": {"http://%zz"}}}, 403, "origin_not_allowed"},
			"our host in the user part": {dialled{token: viewer, header: http.Header{"Origin": {"http://" + n.addr + "@evil.example.com"}}}, 403, "origin_not_allowed"},
		} {
			_, response, err := n.dial(ctx, c.how)
			Expect(err).To(HaveOccurred(), name)
			Expect(response.StatusCode).To(Equal(c.status), name)
			code, _ := refused(response)
			Expect(code).To(Equal(c.code), name)
		}
		for _, origin := range []string{"http://" + n.addr, "https://console.example.com", "https://Console.Example.com"} {
			_, response, err := n.dial(ctx, dialled{token: viewer, header: http.Header{"Origin": {origin}}})
			Expect(err).NotTo(HaveOccurred(), "%s %v", origin, response)
		}
		_, _, err := n.dial(ctx, dialled{token: viewer, query: "after=5"})
		Expect(err).NotTo(HaveOccurred())
	})

	It("takes a token among the subprotocols, and accepts another one of them where there is one", func(ctx context.Context) {
		n, tenant := start(subscriptions.Config{}), newTenant()
		token := "eyJ.auditor." + tenant
		for _, c := range []struct {
			offered  []string
			accepted string
		}{
			{[]string{token}, token},
			{[]string{"archon.v1", token}, "archon.v1"},
			{[]string{"bearer." + token, "archon.v1"}, "archon.v1"},
		} {
			socket, _, err := n.dial(ctx, dialled{protocols: c.offered})
			Expect(err).NotTo(HaveOccurred())
			Expect(socket.Subprotocol()).To(Equal(c.accepted))
			write(ctx, tenant, 1, 10)
			Expect(socket.events(ctx, 1)[0].text).To(ContainSubstring(`"data"`), "as the token's roles allow")
		}
	})

	It("takes a ticket once, and gives what its roles allow", func(ctx context.Context) {
		tenant := newTenant()
		held := redeemer{"t-1": auth.Principal{Tenant: tenant, UserID: "ada", Roles: []auth.Role{auth.RoleViewer}}}
		n := start(subscriptions.Config{Tickets: held})
		write(ctx, tenant, 1, 10)
		socket, _, err := n.dial(ctx, dialled{query: "ticket=t-1&after=0"})
		Expect(err).NotTo(HaveOccurred())
		Expect(socket.events(ctx, 1)[0].text).NotTo(ContainSubstring("data"))
		_, response, err := n.dial(ctx, dialled{query: "ticket=t-1&after=0"})
		Expect(err).To(HaveOccurred())
		Expect(response.StatusCode).To(Equal(401))
		Expect(response.Header.Get("WWW-Authenticate")).To(HavePrefix("Bearer"))
	})

	It("is refused with 429 beyond what a tenant and a node may hold", func(ctx context.Context) {
		n := start(subscriptions.Config{PerNode: 3, PerTenant: 2})
		one, two := newTenant(), newTenant()
		for _, tenant := range []string{one, one} {
			n.subscribe(ctx, "viewer."+tenant, "")
		}
		full := func(tenant string) {
			GinkgoHelper()
			_, response, err := n.dial(ctx, dialled{token: "viewer." + tenant})
			Expect(err).To(HaveOccurred())
			Expect(response.StatusCode).To(Equal(429))
			Expect(response.Header.Get("Retry-After")).To(Equal("5"))
			code, _ := refused(response)
			Expect(code).To(Equal("too_many_sockets"))
		}
		full(one)
		n.subscribe(ctx, "viewer."+two, "")
		full(two)
		full(newTenant())
	})

	It("keeps what a client sends before it has an answer", func(ctx context.Context) {
		n, tenant := start(subscriptions.Config{}), newTenant()
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", n.addr)
		Expect(err).NotTo(HaveOccurred())
		defer func() { _ = conn.Close() }()
		request := "GET /ws/events?after=0 HTTP/1.1\r\nHost: " + n.addr + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
			"Sec-WebSocket-Key: MDEyMzQ1Njc4OTAxMjM0NQ==\r\nAuthorization: Bearer viewer." + tenant + "\r\n\r\n"
		const pings = 5 // 1,000 bytes of them
		ping := `{"type":"ping"}` + strings.Repeat(" ", 185)
		frame := "\x81\xfe\x00\xc8\x00\x00\x00\x00" + ping // masked with zeros
		_, err = conn.Write([]byte(request + strings.Repeat(frame, pings)))
		Expect(err).NotTo(HaveOccurred())
		Expect(conn.SetReadDeadline(time.Now().Add(bound))).To(Succeed())
		var got strings.Builder
		for buffer := make([]byte, 4096); strings.Count(got.String(), `{"type":"pong"}`) < pings; {
			read, err := conn.Read(buffer)
			Expect(err).NotTo(HaveOccurred(), got.String())
			got.Write(buffer[:read])
		}
	})

	It("is for sockets only, and gives its place back where it fails", func(ctx context.Context) {
		n := start(subscriptions.Config{PerNode: 1})
		tenant := newTenant()
		for name, c := range map[string]struct {
			header http.Header
			status int
		}{
			"no upgrade":      {http.Header{}, 426},
			"another version": {http.Header{"Connection": {"keep-alive, Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"8"}, "Sec-Websocket-Key": {"MDEyMzQ1Njc4OTAxMjM0NQ=="}}, 426},
			"no key":          {http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}}, 400},
			"a short key":     {http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"c2hvcnQ="}}, 400},
		} {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.addr+"/ws/events", http.NoBody)
			Expect(err).NotTo(HaveOccurred())
			request.Header = c.header
			request.Header.Set("Authorization", "Bearer viewer."+tenant)
			response, err := http.DefaultClient.Do(request)
			Expect(err).NotTo(HaveOccurred())
			Expect(response.StatusCode).To(Equal(c.status), name)
			refused(response)
			Expect(response.Body.Close()).To(Succeed())
		}
		n.subscribe(ctx, "viewer."+tenant, "")
	})
})
