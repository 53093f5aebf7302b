package subscriptions

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/archonhq/archon/internal/auth"
	"github.com/archonhq/archon/internal/httpx"
	"github.com/archonhq/archon/internal/tickets"
)

// headerProtocol is where a browser can put its token: it can set no other header.
const headerProtocol = "Sec-WebSocket-Protocol"

// caller settles who wants a socket, by a token in the header or among the subprotocols, or by a ticket. protocol is the
// one to accept: browsers want one of those that they offered.
func (n *Sockets) caller(r *http.Request, ticket string) (caller auth.Principal, protocol string, err error) {
	offered, protocol := tokenOffered(r.Header)
	hasHeader := len(r.Header.Values("Authorization")) > 0
	count := 0
	for _, is := range []bool{hasHeader, offered != "", ticket != ""} {
		if is {
			count++
		}
	}
	if count > 1 {
		return caller, "", &httpx.Error{
			Status: http.StatusBadRequest, Code: httpx.CodeBadRequest, Message: "Send one of these only: the Authorization header, a token as a subprotocol, a ticket.",
		}
	}
	switch {
	case ticket != "":
		caller, err = n.redeem(r.Context(), ticket)
		return caller, protocol, err
	case offered != "":
		caller, err = n.config.Verifier.Verify(r.Context(), offered)
		return caller, protocol, err //nolint:wrapcheck // the verifier's errors are part of the API
	}
	token, err := auth.BearerToken(r)
	if err != nil {
		return caller, "", err //nolint:wrapcheck // as above
	}
	caller, err = n.config.Verifier.Verify(r.Context(), token)
	return caller, protocol, err //nolint:wrapcheck // as above
}

func (n *Sockets) redeem(ctx context.Context, ticket string) (auth.Principal, error) {
	caller, err := n.config.Tickets.Redeem(ctx, ticket)
	if errors.Is(err, tickets.ErrInvalid) {
		return caller, &httpx.Error{
			Status: http.StatusUnauthorized, Code: httpx.CodeUnauthenticated, Message: "The ticket is not valid: it is malformed, has expired or was used before; get another one with POST /api/v1/ws-ticket.",
			Header: http.Header{"Www-Authenticate": {`Bearer realm="archon"`}},
		}
	}
	return caller, err //nolint:wrapcheck // says what it did
}

// tokenOffered finds the token among the subprotocols, which is the one that looks like one, and the protocol to accept:
// another one where there is one, since answers are seen by more eyes than requests.
func tokenOffered(header http.Header) (token, protocol string) {
	for offered := range strings.SplitSeq(strings.Join(header.Values(headerProtocol), ","), ",") {
		offered = strings.TrimSpace(offered)
		switch {
		case token == "" && isToken(offered):
			token = offered
		case protocol == "":
			protocol = offered
		}
	}
	if protocol == "" {
		protocol = token
	}
	return strings.TrimPrefix(token, tokenPrefix), protocol
}

// tokenPrefix may stand before a token that is offered as a subprotocol.
const tokenPrefix = "bearer."

// isToken tells whether a subprotocol is a signed JWT, by its form: three parts, the first of which is a JSON object.
func isToken(text string) bool {
	const dots = 2
	text = strings.TrimPrefix(text, tokenPrefix)
	return strings.HasPrefix(text, "eyJ") && strings.Count(text, ".") == dots
}
