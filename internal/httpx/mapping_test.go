package httpx_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/labstack/echo/v4"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/auth"
	"github.com/archonhq/archon/internal/httpx"
	"github.com/archonhq/archon/internal/secrets"
)

// unconnected is the error of a connection attempt that failed, which only pgconn can make.
func unconnected(cause error) error {
	config, err := pgconn.ParseConfig("postgres://archon@localhost/archon?sslmode=disable")
	if err != nil {
		return err
	}
	config.DialFunc = func(context.Context, string, string) (net.Conn, error) { return nil, cause }
	_, err = pgconn.ConnectConfig(context.Background(), config)
	return err
}

func TestFromError(t *testing.T) {
	t.Parallel()
	const secret = "SECRET-CAUSE"
	refusal := func(kind domain.Kind) error {
		return &domain.Refusal{Kind: kind, Code: "said_no", Message: "No.", Details: map[string]any{"a": "b"}}
	}
	for name, test := range map[string]struct {
		err    error
		status int
		code   string
	}{
		"invalid":          {refusal(domain.Invalid), 422, "said_no"},
		"not found":        {refusal(domain.NotFound), 404, "said_no"},
		"conflict":         {refusal(domain.Conflict), 409, "said_no"},
		"stale":            {refusal(domain.Stale), 412, "said_no"},
		"forbidden":        {refusal(domain.Forbidden), 403, "said_no"},
		"token":            {&auth.Error{Reason: "the token has expired"}, 401, "unauthenticated"},
		"issuer away":      {auth.ErrUnavailable, 503, "unavailable"},
		"lost race":        {&eventstore.ConflictError{Stream: secret, Expected: 1, Actual: 2}, 409, "conflict"},
		"store away":       {eventstore.ErrUnavailable, 503, "unavailable"},
		"store busy":       {eventstore.ErrBusy, 503, "unavailable"},
		"store closed":     {eventstore.ErrClosed, 503, "unavailable"},
		"clock behind":     {eventstore.ErrClockBehind, 503, "unavailable"},
		"outcome unknown":  {eventstore.ErrOutcomeUnknown, 503, "outcome_unknown"},
		"chain broken":     {eventstore.ErrChainBroken, 500, "internal_error"},
		"vault away":       {secrets.ErrUnavailable, 503, "unavailable"},
		"vault says no":    {secrets.ErrDenied, 503, "unavailable"},
		"secret damaged":   {secrets.ErrCorrupt, 500, "internal_error"},
		"deadline":         {context.DeadlineExceeded, 504, "timeout"},
		"canceled":         {context.Canceled, 503, "unavailable"},
		"refused dial":     {&net.OpError{Op: "dial", Err: errors.New(secret)}, 503, "unavailable"},
		"slow to connect":  {unconnected(context.DeadlineExceeded), 503, "unavailable"},
		"no connection":    {unconnected(errors.New(secret)), 503, "unavailable"},
		"cut":              {io.ErrUnexpectedEOF, 503, "unavailable"},
		"closed":           {net.ErrClosed, 503, "unavailable"},
		"server going":     {&pgconn.PgError{Code: "57P01", Message: secret}, 503, "unavailable"},
		"server starting":  {&pgconn.PgError{Code: "57P03"}, 503, "unavailable"},
		"too many clients": {&pgconn.PgError{Code: "53300"}, 503, "unavailable"},
		"wrong query":      {&pgconn.PgError{Code: "42601", Message: secret}, 500, "internal_error"},
		"unknown":          {errors.New(secret), 500, "internal_error"},
		"no path":          {echo.ErrNotFound, 404, "not_found"},
		"no method":        {echo.ErrMethodNotAllowed, 405, "method_not_allowed"},
		"generated code":   {echo.NewHTTPError(400, "Invalid format for parameter x: "+secret), 400, "bad_request"},
		"too large":        {echo.ErrStatusRequestEntityTooLarge, 413, "body_too_large"},
		"media type":       {echo.ErrUnsupportedMediaType, 415, "unsupported_media_type"},
		"echo's 500":       {echo.NewHTTPError(500, secret), 500, "internal_error"},
		"ours":             {httpx.NotFound(), 404, "not_found"},
		"bad fields":       {httpx.Invalid(map[string]any{"a": "b"}), 422, "validation_failed"},
		"too many":         {httpx.TooManyRequests("busy", "Busy.", 1500*time.Millisecond), 429, "busy"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := httpx.FromError(fmt.Errorf("do it: %w", fmt.Errorf("further in: %w", test.err)))
			if got.Status != test.status || got.Code != test.code {
				t.Errorf("FromError = %d %s, want %d %s", got.Status, got.Code, test.status, test.code)
			}
			answer := got.Answer()
			if strings.Contains(string(answer.Body), secret) {
				t.Errorf("the cause shows: %s", answer.Body)
			}
			if again := got.Status == 429 || got.Status >= 503; again != (answer.Header["Retry-After"] != "") {
				t.Errorf("Retry-After: %q", answer.Header["Retry-After"])
			}
			if got.Status >= 500 && !errors.Is(got, test.err) {
				t.Error("the cause is lost to the log")
			}
			if got.Error() == "" {
				t.Error("says nothing")
			}
		})
	}
	if got := httpx.TooManyRequests("busy", "Busy.", 1500*time.Millisecond).Answer().Header["Retry-After"]; got != "2" {
		t.Errorf("Retry-After is rounded to %s", got)
	}
	details := httpx.FromError(refusal(domain.Conflict)).Details
	if details["a"] != "b" {
		t.Errorf("details are lost: %v", details)
	}
}

func TestAnswerOfStrangeDetails(t *testing.T) {
	t.Parallel()
	answer := (&httpx.Error{Status: 409, Code: "odd", Message: "Odd.", Details: map[string]any{"f": func() {}}}).Answer()
	var body map[string]map[string]any
	if err := json.Unmarshal(answer.Body, &body); err != nil || body["error"]["code"] != "odd" {
		t.Errorf("%s: %v", answer.Body, err)
	}
}

func TestOutsideOfARequest(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	httpx.From(ctx).SetProjectionLag()
	httpx.MarkRecorded(ctx)
	if meta := httpx.Meta(ctx); meta.RequestID != "" || meta.Timestamp.IsZero() {
		t.Errorf("meta = %+v", meta)
	}
	if _, err := httpx.NewAnswer(ctx, 200, func() {}); err == nil {
		t.Error("a function was encoded")
	}
}
