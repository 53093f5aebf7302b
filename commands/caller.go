package commands

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/archonhq/archon/domain"
)

// Caller is who wants something, through which request. It becomes the meta of the events.
type Caller struct {
	Tenant string
	Actor  domain.Actor
	Roles  []string
	// Method and Path (the route's template) name the request; empty for jobs and probes.
	Method, Path string
	// Status is the status of the answer on success.
	Status                     int
	CorrelationID, CausationID string
	// RequestID is this request's own id, shown in the answer.
	RequestID string
	// IP and UserAgent are personal data: they are sealed under the actor's key before they enter an event.
	IP, UserAgent string
	// IfMatch, where set, lists the versions of the target that the caller accepts; see Precondition.
	IfMatch *Precondition
	// Idempotency is set where the command may be repeated.
	Idempotency *Idempotency
}

// Idempotency names a command that may come again and tells it from another one under the same key.
type Idempotency struct {
	// CommandID derives from tenant, actor, method, path and key, or from a job.
	CommandID uuid.UUID
	// Fingerprint is the HMAC of the request's body; empty for jobs.
	Fingerprint []byte
	// TTL is how long the command is remembered; zero is the store's default, the contract's 24 hours.
	TTL time.Duration
}

// Precondition is a parsed If-Match.
type Precondition struct {
	// Any is If-Match: *, which holds where the resource exists.
	Any bool
	// Versions are the versions any of which the caller has seen.
	Versions []int64
	// inner marks a version that the caller did not name: losing it is contention, not a failed precondition.
	inner bool
}

// check says what is wrong where the resource has another version than the caller has seen.
func (p *Precondition) check(version int64) error {
	if p == nil || (p.Any && version > 0) || slices.Contains(p.Versions, version) {
		return nil
	}
	if p.inner {
		return errOvertaken
	}
	return ErrStale
}

// errOvertaken says that the target has moved since the impure part of a command looked at it: start over.
var errOvertaken = errors.New("the resource changed while the command was prepared")

// pinned demands that the target is still at the version that the impure part of a command has looked at.
func (c Caller) pinned(version int64) Caller {
	c.IfMatch = &Precondition{Versions: []int64{version}, inner: c.IfMatch == nil || c.IfMatch.Any}
	return c
}

// SystemCaller is a part of Archon that acts on its own, such as the prober.
func SystemCaller(tenant, part string) Caller {
	return Caller{Tenant: tenant, Actor: domain.Actor{ID: part, Type: domain.System}, Status: http.StatusOK}
}

// ErrStale says that the resource has another version than the If-Match asked for.
var ErrStale = &domain.Refusal{
	Kind: domain.Stale, Code: "precondition_failed",
	Message: "The resource has changed since the version in If-Match; read it again and decide anew.",
}

// ErrKeyReused says that an Idempotency-Key came with another body than the first time.
var ErrKeyReused = &domain.Refusal{
	Kind: domain.Invalid, Code: "idempotency_key_reused",
	Message: "This Idempotency-Key was used with another request body; use a new key for a new request.",
}

// ErrContended says that other writers kept winning the race for the same streams: try again.
var ErrContended = &domain.Refusal{
	Kind: domain.Conflict, Code: "conflict",
	Message: "Others changed the same resource at the same time; try again.",
}
