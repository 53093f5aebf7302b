package secrets

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
)

// vaultFault gives an error of the api client its meaning. Of what Vault (or a proxy in between) said, only the status
// and known phrases get through: an answer can echo what was sent.
func vaultFault(ctx context.Context, err error, timeout time.Duration) error {
	var (
		answer    *api.ResponseError
		transport *url.Error
	)

	switch {
	case err == nil:
		return nil
	case isOurs(err):
		return err
	case errors.Is(ctx.Err(), context.Canceled):
		return context.Canceled
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	case errors.As(err, &answer):
		return answerFault(answer)
	case errors.Is(err, context.DeadlineExceeded) || isTimeout(err):
		return fmt.Errorf("%w: vault did not answer within %s", ErrUnavailable, timeout)
	case errors.As(err, &transport):
		return fmt.Errorf("%w: %w", ErrUnavailable, transport.Err) // without the URL
	default:
		return errNotUnderstood
	}
}

func isOurs(err error) bool {
	for _, known := range []error{ErrNotFound, ErrVersionMismatch, ErrUnavailable, ErrDenied, ErrInvalid, ErrCorrupt} {
		if errors.Is(err, known) {
			return true
		}
	}

	return false
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }

	return errors.As(err, &timeout) && timeout.Timeout()
}

func answerFault(answer *api.ResponseError) error {
	switch {
	case answer.StatusCode == http.StatusForbidden:
		return fmt.Errorf("%w: vault answered 403", ErrDenied)
	case says(answer, "check-and-set parameter did not match"):
		return ErrVersionMismatch
	case says(answer, "invalid role or secret id"), says(answer, "invalid role id"), says(answer, "invalid secret id"):
		return fmt.Errorf("%w: vault does not know this AppRole", ErrDenied)
	case answer.StatusCode == http.StatusNotFound:
		return fmt.Errorf("%w: vault has no such mount", ErrUnavailable)
	case answer.StatusCode == http.StatusRequestEntityTooLarge:
		return fmt.Errorf("%w: vault takes no value as large", ErrInvalid)
	case says(answer, "vault is sealed"):
		return fmt.Errorf("%w: vault is sealed", ErrUnavailable)
	case answer.StatusCode == http.StatusTooManyRequests:
		return fmt.Errorf("%w: vault has too many requests", ErrUnavailable)
	default:
		return fmt.Errorf("%w: vault answered %d", ErrUnavailable, answer.StatusCode)
	}
}

// says tells whether one of the answer's messages holds a phrase (lower case), whatever wraps it in this version.
func says(answer *api.ResponseError, phrase string) bool {
	for _, message := range answer.Errors {
		if strings.Contains(strings.ToLower(message), phrase) {
			return true
		}
	}

	return false
}

func isStatus(err error, status int) bool {
	var answer *api.ResponseError

	return errors.As(err, &answer) && answer.StatusCode == status
}
