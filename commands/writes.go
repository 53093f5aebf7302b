package commands

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"github.com/archonhq/archon/domain/audit"
	"github.com/archonhq/archon/domain/costsettings"
	"github.com/archonhq/archon/domain/departments"
	"github.com/archonhq/archon/internal/httpx"
)

// Writes keeps the record of writes for the HTTP layer: repeated ones get the first answer, refused ones enter the log.
type Writes struct {
	Repeats  *Repeats
	Refusals *Refusals
	Reads    ReadYourWrites
}

var _ httpx.Writes = (*Writes)(nil)

// Begin implements httpx.Writes.
func (w *Writes) Begin(ctx context.Context, request *httpx.Request) (httpx.Begun, error) {
	named, earlier, done, err := w.Repeats.begin(ctx, request.Principal.Tenant, request.Principal.UserID,
		request.Method, request.Target, request.IdempotencyKey, request.Body)
	begun := httpx.Begun{Done: done}
	if err != nil {
		return begun, err
	}
	begun.Context = withIdempotency(ctx, named)
	if earlier != nil {
		answer := w.Reads.settle(ctx, *earlier, request.Principal.Tenant, tablesOf(request.Path)...)
		begun.Answer = &answer
		httpx.MarkRecorded(ctx)
	}
	return begun, nil
}

// Record implements httpx.Writes.
func (w *Writes) Record(ctx context.Context, refused httpx.Refused) (int64, error) {
	caller := callerOf(ctx)
	caller.Status = refused.Answer.Status
	resourceType, resourceID := resourceOf(refused)
	position, err := w.Refusals.Record(ctx, caller, audit.WriteRefused{
		ResourceType: resourceType, ResourceID: resourceID, Code: refused.Code, Message: refused.Message, Details: refused.Details,
	}, refused.Answer)
	if errors.Is(err, ErrSuppressed) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	w.Reads.settle(ctx, outcome{position: position}, caller.Tenant, "audit_index")
	return position, nil
}

// resourceOf names what a refused write was about, by its route. What can't be the id of such a thing is left out: it may be
// anything, a secret in the wrong place included, and the log is for ever.
func resourceOf(refused httpx.Refused) (resourceType, id string) {
	if resourceType, id = routingResource(refused.Request); resourceType != "" {
		return resourceType, id
	}
	if id = refused.PathParams["id"]; strings.HasPrefix(refused.Request.Path, departmentsPath) && wasFound(refused) && departments.ValidID(id) {
		return "department", id
	}
	if strings.HasPrefix(refused.Request.Path, budgetPath) {
		return "budget", budgetID(refused.PathParams)
	}
	for _, route := range []struct {
		prefix, resourceType, parameter string
		isID                            func(string) bool
	}{
		{"/api/v1/router/providers", "provider", "id", isUUID},
		{"/api/v1/keys", "key", "id", isUUID},
		{"/api/v1/cost/pricing", "pricebook", "id", isUUID},
		{"/api/v1/cost/settings", costsettings.Stream, "id", isUUID},
		{departmentsPath, "department", "id", isUUID},
		{"/api/v1/cost/reprice", "repricing", "id", isUUID},
		{"/api/v1/jobs", "job", "id", isUUID},
		{"/api/v1/projections", "projection", "name", isProjectionName},
	} {
		if !strings.HasPrefix(refused.Request.Path, route.prefix) {
			continue
		}
		if id = refused.PathParams[route.parameter]; !route.isID(id) {
			id = ""
		}
		return route.resourceType, id
	}
	return "", ""
}

// departmentsPath begins the routes of departments, whose ids may be any word: one is only known to be an id once there was
// such a department.
const departmentsPath = "/api/v1/departments"

// wasFound tells whether a write was refused for the state of what it was about.
func wasFound(refused httpx.Refused) bool {
	return refused.Answer.Status == http.StatusConflict || refused.Answer.Status == http.StatusPreconditionFailed
}

func isUUID(text string) bool { return uuid.Validate(text) == nil }

func isProjectionName(text string) bool {
	const longest = 63
	return len(text) <= longest && strings.Trim(text, "abcdefghijklmnopqrstuvwxyz_") == ""
}
