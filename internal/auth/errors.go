package auth

import "errors"

// ErrUnavailable means that a token can't be judged, because its issuer's keys can't be had now. Answer 503 with
// Retry-After; the issuer is asked again by itself.
var ErrUnavailable = errors.New("token issuer unavailable")

// Error means that the request carries no token that counts. Answer 401 with [Error.Challenge].
type Error struct {
	// Reason is a phrase for the caller, one of a few constants: it holds nothing of the token, and can label a metric.
	Reason string
	// absent is set where no token was sent at all.
	absent bool
}

// Error returns the reason.
func (e *Error) Error() string { return e.Reason }

// Challenge returns the value of the WWW-Authenticate header (RFC 6750, section 3).
func (e *Error) Challenge() string {
	const challenge = `Bearer realm="archon"`

	// The RFC wants no error code where the request had no token.
	if e.absent {
		return challenge
	}

	return challenge + `, error="invalid_token", error_description="` + e.Reason + `"`
}

// The reasons. They stand in a quoted string of a header, so no quotes, backslashes or characters beyond ASCII.
const (
	reasonAbsent     = "no bearer token was sent"
	reasonHeader     = "the Authorization header is not of the form Bearer TOKEN"
	reasonTwoHeaders = "there is more than one Authorization header"
	reasonTooLong    = "the token is longer than 16 KiB"
	reasonMalformed  = "the token is not a signed JWT"
	reasonAlgorithm  = "the token is signed with an algorithm that is not accepted"
	reasonUnknownKey = "the token is signed with a key that its issuer does not publish"
	reasonSignature  = "the signature of the token is wrong"
	reasonClaims     = "the token does not hold well-formed claims"
	reasonIssuer     = "the token is from another issuer"
	reasonAudience   = "the token is for another audience"
	reasonNoExpiry   = "the token has no valid time of expiry"
	reasonExpired    = "the token has expired"
	reasonNotYet     = "the token is not valid yet"
	reasonSubject    = "the token has no valid subject"
	reasonTenant     = "the token has no valid tenant"
	reasonRoles      = "the roles in the token are neither a list of names nor names separated by spaces"
)

// refuse makes the error of a token that was sent.
func refuse(reason string) error { return &Error{Reason: reason} }
