package subscriptions

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/labstack/echo/v4"

	"github.com/archonhq/archon/internal/auth"
	"github.com/archonhq/archon/internal/httpx"
)

// path is that of the route.
const path = "/ws/events"

// fullRetryAfter is when to try again where there is no room.
const fullRetryAfter = 5 * time.Second

// Mount adds the route to e, behind its outer middleware.
func (n *Sockets) Mount(e *echo.Echo) {
	e.GET(path, func(c echo.Context) error {
		err := n.serve(c)
		if err != nil {
			n.metrics.refused.WithLabelValues(strconv.Itoa(httpx.FromError(err).Status)).Inc()
		}
		return err
	})
}

// serve opens a socket. The request ends with that: what it has taken is given back while the socket lives on.
func (n *Sockets) serve(c echo.Context) error {
	r := c.Request()
	if err := n.checkOrigin(r); err != nil {
		return err
	}
	asked, err := parse(r.URL.RawQuery)
	if err != nil {
		return err
	}
	caller, protocol, err := n.caller(r, asked.ticket)
	if err != nil {
		return err
	}
	request := httpx.From(r.Context())
	request.Principal = caller // for the log's lines
	if !caller.Allows(auth.RequireViewer) {
		return &httpx.Error{Status: http.StatusForbidden, Code: httpx.CodeForbidden, Message: "Your roles do not allow this.", Details: map[string]any{"required_role": "viewer"}}
	}
	if why := n.reserve(caller.Tenant); why != roomy {
		return noRoom(why)
	}
	s, err := n.accept(c, caller, protocol, asked)
	if err != nil {
		n.release(caller.Tenant)
		return err
	}
	n.add(s)
	return nil
}

// noRoom is the answer where a socket can't be held.
func noRoom(why refusal) error {
	switch why {
	case nodeFull:
		return httpx.TooManyRequests("too_many_sockets", "This node has as many sockets as it can hold; try again later, or on another node.", fullRetryAfter)
	case tenantFull:
		return httpx.TooManyRequests("too_many_sockets", "Your tenant has as many sockets as it may have on this node; close some.", fullRetryAfter)
	default:
		return httpx.Unavailable(errClosing)
	}
}

var errClosing = errors.New("the sockets of this node are closing")

// accept upgrades the connection, once it is known where the socket begins.
func (n *Sockets) accept(c echo.Context, caller auth.Principal, protocol string, asked query) (*socket, error) {
	r := c.Request()
	head, err := n.config.Log.Head(r.Context(), caller.Tenant)
	if err != nil {
		return nil, err //nolint:wrapcheck // the store's errors are part of the API
	}
	s := &socket{
		node: n, tenant: caller.Tenant, streams: asked.streams, types: asked.types, full: caller.Allows(auth.RequireAudit),
		expiresAt: caller.ExpiresAt, at: head.Position, isGreeted: asked.after < 0, wake: make(chan struct{}, 1),
	}
	if asked.after > head.Position {
		return nil, httpx.InvalidParameters(map[string]any{"after": "must not be beyond the end of the log"})
	}
	if asked.after >= 0 {
		s.at = asked.after
	}
	if err := checkUpgrade(r); err != nil {
		return nil, err
	}
	options := &websocket.AcceptOptions{InsecureSkipVerify: true} // the origin has been checked
	if protocol != "" {
		options.Subprotocols = []string{protocol}
	}
	upgrade := &upgrading{ResponseWriter: c.Response(), patience: n.config.SlowAfter}
	if s.conn, err = websocket.Accept(upgrade, r, options); err != nil {
		return nil, &httpx.Error{Status: http.StatusBadRequest, Code: httpx.CodeBadRequest, Message: "The request can't be upgraded to a socket."}
	}
	s.wire = upgrade.conn
	return s, nil
}

// upgrading lets the library write to a patient connection.
type upgrading struct {
	http.ResponseWriter

	patience time.Duration
	conn     *patientConn
}

// Hijack implements http.Hijacker.
func (u *upgrading) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffers, err := http.NewResponseController(u.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // for the library
	}
	_ = conn.SetDeadline(time.Time{}) // those of HTTP
	u.conn = newPatientConn(conn, u.patience)
	early, err := buffers.Reader.Peek(buffers.Reader.Buffered())
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // for the library
	}
	reader := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(bytes.Clone(early)), u.conn), max(readBuffer, len(early)))
	_, _ = reader.Peek(len(early)) // the library keeps what is buffered, and reads on from the connection
	return u.conn, bufio.NewReadWriter(reader, bufio.NewWriterSize(u.conn, writeBuffer)), nil
}

// readBuffer and writeBuffer are a socket's buffers, in bytes. They are smaller than HTTP's, for there are thousands of sockets:
// a client sends pings, and nearly every event fits.
const (
	readBuffer  = 512
	writeBuffer = 2 << 10
)

// checkUpgrade refuses a request that is none for a socket of the one version there is.
func checkUpgrade(r *http.Request) error {
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(r.Header.Get("Sec-WebSocket-Key")))
	const keyBytes = 16
	switch {
	case !names(r.Header, "Connection", "upgrade"), !names(r.Header, "Upgrade", "websocket"), r.Header.Get("Sec-WebSocket-Version") != "13":
		return &httpx.Error{
			Status: http.StatusUpgradeRequired, Code: "upgrade_required", Message: "This route is a WebSocket, of version 13; connect with a WebSocket client.",
			Header: http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Version": {"13"}},
		}
	case err != nil, len(key) != keyBytes, len(r.Header.Values("Sec-WebSocket-Key")) != 1:
		return &httpx.Error{
			Status: http.StatusBadRequest, Code: httpx.CodeInvalidHeader, Message: "The request has headers that do not fit.",
			Details: map[string]any{"Sec-WebSocket-Key": "must be 16 bytes in base64, once"},
		}
	}
	return nil
}

// names tells whether a header that is a list has a token, in any case.
func names(header http.Header, name, token string) bool {
	for value := range strings.SplitSeq(strings.Join(header.Values(name), ","), ",") {
		if strings.EqualFold(strings.TrimSpace(value), token) {
			return true
		}
	}
	return false
}

// checkOrigin refuses pages of other sites: a browser sends along what it knows of the user. Programs send no origin.
func (n *Sockets) checkOrigin(r *http.Request) error {
	sent := r.Header.Values("Origin")
	if len(sent) == 0 {
		return nil
	}
	origin, err := url.Parse(sent[0])
	if len(sent) == 1 && err == nil && origin.Host != "" &&
		(strings.EqualFold(origin.Host, r.Host) || slices.ContainsFunc(n.config.Origins, func(allowed string) bool { return strings.EqualFold(allowed, sent[0]) })) {
		return nil
	}
	return &httpx.Error{
		Status: http.StatusForbidden, Code: "origin_not_allowed",
		Message: "Pages of this origin may not open sockets here; ARCHON_ALLOWED_ORIGINS lists those that may.",
	}
}
