package subscriptions_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/labstack/echo/v4"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/auth"
	"github.com/archonhq/archon/internal/httpx"
	"github.com/archonhq/archon/internal/testdb"
	"github.com/archonhq/archon/internal/tickets"
	"github.com/archonhq/archon/subscriptions"
)

// bound is how long anything may take on a busy machine.
const bound = 60 * time.Second

var (
	server  *testdb.Server
	store   *eventstore.Store
	tenants atomic.Int64
)

func TestSubscriptions(t *testing.T) {
	t.Parallel()
	RegisterFailHandler(Fail)
	RunSpecs(t, "Subscriptions")
}

var _ = BeforeSuite(func(ctx context.Context) {
	var err error
	server, err = testdb.Start(context.WithoutCancel(ctx))
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(server.Stop)
	db, err := server.Create(ctx)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(db.Drop)
	pool, err := db.Pool(context.WithoutCancel(ctx), "archon_app", 10)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(pool.Close)
	store = eventstore.New(pool, eventstore.Config{})
	DeferCleanup(store.Close)
})

// newTenant is a tenant that nobody has.
func newTenant() string { return fmt.Sprint("t", tenants.Add(1)) }

// write appends n events to streams a-1, a-2 and b-1 in turn, their types x.v1 and y.v1 in turn, each with so many bytes of data.
func write(ctx context.Context, tenant string, n, bytes int) {
	GinkgoHelper()
	head, err := store.Head(ctx, tenant)
	Expect(err).NotTo(HaveOccurred())
	events := make([]eventstore.NewEvent, n)
	for i := range events {
		number := head.Position + int64(i)
		events[i] = eventstore.NewEvent{
			Stream: []string{"a-1", "a-2", "b-1"}[number%3], Type: []string{"x.v1", "y.v1"}[number%2], Data: []byte(`"` + strings.Repeat("d", bytes) + `"`),
		}
	}
	_, err = store.Append(ctx, eventstore.Append{Tenant: tenant, Events: events, Meta: []byte(`{"actor":{"id":"ada"}}`)})
	Expect(err).NotTo(HaveOccurred())
}

// writing runs beside the spec, which reads meanwhile: a client that does not would be cut on a slow machine.
func writing(work func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer GinkgoRecover()
		work()
	}()
	DeferCleanup(func() { Eventually(done).WithTimeout(bound).Should(BeClosed()) })
}

// verifier takes tokens "<role>.<tenant>"; its tokens expire when it says.
type verifier struct{ expiresAt time.Time }

func (v verifier) Verify(_ context.Context, token string) (auth.Principal, error) {
	name, tenant, ok := strings.Cut(strings.TrimPrefix(token, "eyJ."), ".")
	if !ok {
		return auth.Principal{}, &auth.Error{Reason: "the token is not a signed JWT"}
	}
	principal := auth.Principal{Tenant: tenant, UserID: "ada", ExpiresAt: v.expiresAt}
	if role, known := auth.ParseRole(name); known {
		principal.Roles = []auth.Role{role}
	}
	return principal, nil
}

// redeemer takes the tickets that are in it, once.
type redeemer map[string]auth.Principal

func (r redeemer) Redeem(_ context.Context, ticket string) (auth.Principal, error) {
	principal, found := r[ticket]
	if !found {
		return auth.Principal{}, tickets.ErrInvalid
	}
	delete(r, ticket)
	return principal, nil
}

// node is a server with sockets.
type node struct {
	*subscriptions.Sockets
	addr string
}

// start starts a node. Its polling is quick and its log is the store unless the config says otherwise.
func start(config subscriptions.Config) *node {
	GinkgoHelper()
	if config.Log == nil {
		config.Log = store
	}
	if config.Verifier == nil {
		config.Verifier = verifier{}
	}
	if config.Tickets == nil {
		config.Tickets = redeemer{}
	}
	if config.Poll == 0 {
		config.Poll = 10 * time.Millisecond
	}
	sockets, err := subscriptions.New(config)
	Expect(err).NotTo(HaveOccurred())
	e := echo.New()
	e.HTTPErrorHandler = func(err error, c echo.Context) {
		answer := httpx.FromError(err).Answer()
		for name, value := range answer.Header {
			c.Response().Header().Set(name, value)
		}
		_ = c.JSONBlob(answer.Status, answer.Body)
	}
	sockets.Mount(e)
	listening := httptest.NewServer(e)
	DeferCleanup(func(ctx context.Context) {
		_ = sockets.Close(ctx) // a spec may have closed them
		listening.Close()
	})
	return &node{Sockets: sockets, addr: listening.Listener.Addr().String()}
}

// client is a subscriber.
type client struct {
	*websocket.Conn
}

// dialled is how a client dials.
type dialled struct {
	token, query string
	header       http.Header
	protocols    []string
	// window, where not 0, is the size of the client's receive buffer.
	window int
}

// dial opens a socket, or returns the answer that refuses it.
func (n *node) dial(ctx context.Context, how dialled) (*client, *http.Response, error) {
	header := how.header.Clone()
	if header == nil {
		header = http.Header{}
	}
	if how.token != "" {
		header.Set("Authorization", "Bearer "+how.token)
	}
	dialer := &net.Dialer{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		if how.window == 0 {
			return nil
		}
		return errors.Join(raw.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, how.window)
		}), err)
	}}
	transport := &http.Transport{DialContext: dialer.DialContext}
	conn, response, err := websocket.Dial(ctx, "ws://"+n.addr+"/ws/events?"+how.query, &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: transport}, HTTPHeader: header, Subprotocols: how.protocols,
	})
	if err != nil {
		return nil, response, err //nolint:wrapcheck // shown as it is
	}
	conn.SetReadLimit(-1)
	DeferCleanup(func() { _ = conn.CloseNow() })
	return &client{conn}, response, nil
}

// subscribe is dial for a socket that must open.
func (n *node) subscribe(ctx context.Context, token, query string) *client {
	GinkgoHelper()
	c, response, err := n.dial(ctx, dialled{token: token, query: query})
	Expect(err).NotTo(HaveOccurred(), "%v", response)
	return c
}

// message is one frame, as far as all kinds have it.
type message struct {
	Type      string `json:"type"`
	Position  int64  `json:"position"`
	Stream    string `json:"stream"`
	EventType string `json:"event_type"`
	text      string
}

// next is the next frame, of any kind.
func (c *client) next(ctx context.Context) (message, error) {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	_, text, err := c.Read(ctx)
	if err != nil {
		return message{}, err //nolint:wrapcheck // shown as it is
	}
	read := message{text: string(text)}
	return read, json.Unmarshal(text, &read)
}

// events reads the next n events, and nothing may come in between but positions.
func (c *client) events(ctx context.Context, n int) []message {
	GinkgoHelper()
	var list []message
	for len(list) < n {
		read, err := c.next(ctx)
		Expect(err).NotTo(HaveOccurred(), "after %d of %d", len(list), n)
		if read.Type == "position" {
			continue
		}
		Expect(read.Type).To(Equal("event"), read.text)
		list = append(list, read)
	}
	return list
}

func positionsOf(list []message) []int64 {
	positions := make([]int64, len(list))
	for i, one := range list {
		positions[i] = one.Position
	}
	return positions
}

// upTo are the positions from one to another.
func upTo(from, to int64) []int64 {
	var list []int64
	for position := from; position <= to; position++ {
		list = append(list, position)
	}
	return list
}

// ended reads to the end and returns what came, the close code, and the position that is its reason.
func (c *client) ended(ctx context.Context) (events []message, code websocket.StatusCode, position int64) {
	GinkgoHelper()
	for {
		read, err := c.next(ctx)
		if err == nil {
			if read.Type == "event" {
				events = append(events, read)
			}
			continue
		}
		var farewell websocket.CloseError
		Expect(errors.As(err, &farewell)).To(BeTrue(), "%v", err)
		position, err = strconv.ParseInt(farewell.Reason, 10, 64)
		Expect(err).NotTo(HaveOccurred())
		return events, farewell.Code, position
	}
}

// escaped is a value in a query.
func escaped(text string) string { return url.QueryEscape(text) }
