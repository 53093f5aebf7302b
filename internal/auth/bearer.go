package auth

import (
	"net/http"
	"strings"
)

// MaxTokenBytes bounds a token; Keycloak's with hundreds of roles stay below it.
const MaxTokenBytes = 16 << 10

// BearerToken returns the token of the request's Authorization header. The error is an [*Error].
func BearerToken(r *http.Request) (string, error) {
	headers := r.Header.Values("Authorization")

	switch len(headers) {
	case 0:
		return "", &Error{Reason: reasonAbsent, absent: true}
	case 1:
	default:
		// Two parties that each look at another header would see two callers.
		return "", refuse(reasonTwoHeaders)
	}

	scheme, token, _ := strings.Cut(headers[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		// Another scheme, such as Basic, is no attempt at a token.
		return "", &Error{Reason: reasonAbsent, absent: true}
	}

	token = strings.Trim(token, " ")

	switch {
	case len(token) > MaxTokenBytes:
		return "", refuse(reasonTooLong)
	case !isToken68(token):
		return "", refuse(reasonHeader)
	default:
		return token, nil
	}
}

// isToken68 says whether s has the syntax that RFC 6750 gives tokens.
func isToken68(s string) bool {
	const alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~+/"

	body := strings.TrimRight(s, "=")

	return body != "" && strings.Trim(body, alphabet) == ""
}
