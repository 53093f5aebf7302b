package commands

import (
	"context"
	"net/http"
	"time"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain/departments"
)

// departmentTables are the projections that show what a department is called.
var departmentTables = []string{"departments", "audit_index"} //nolint:gochecknoglobals // a constant list

// Departments holds the use cases of departments.
type Departments struct {
	Handler *Handler
	Reads   ReadYourWrites
}

type departmentTask = task[departments.State, departments.Command]

// CreateDepartment implements api.StrictServerInterface.
func (d *Departments) CreateDepartment(ctx context.Context, request api.CreateDepartmentRequestObject) (api.CreateDepartmentResponseObject, error) {
	id := orZero(request.Body.ID)
	if request.Body.ID == nil {
		var err error
		if id, err = newID(); err != nil {
			return nil, err
		}
	}
	caller := callerOf(ctx)
	done, err := handle(ctx, d.Handler, caller, departmentTask{
		decider: departments.Decider(),
		command: departments.Create{DepartmentID: id, Name: request.Body.Name},
		streams: departmentStreams(id, request.Body.Name),
		answer: func(state departments.State, version int64, at time.Time) response {
			return response{
				status: http.StatusCreated, version: version, location: "/api/v1/departments/" + id,
				data: api.Department{ID: id, Name: state.Name, CreatedAt: at, Version: version},
			}
		},
	})
	return finish(ctx, d.Handler, d.Reads, caller, done, err, departmentTables...)
}

// departmentStreams are those that a department's creation rests on. What can't be an id has no stream, and is refused.
func departmentStreams(id, name string) []string {
	if !departments.ValidID(id) {
		return []string{departments.NameStream(name)}
	}
	return []string{departments.Stream(id), departments.NameStream(name)}
}

// RenameDepartment implements api.StrictServerInterface.
func (d *Departments) RenameDepartment(ctx context.Context, request api.RenameDepartmentRequestObject) (api.RenameDepartmentResponseObject, error) {
	if !departments.ValidID(request.ID) {
		return nil, departments.ErrNotFound
	}
	caller, name := callerOf(ctx), request.Body.Name
	// When it was created never changes, so it may be read before.
	before, err := fold(ctx, d.Handler, caller.Tenant, departmentTask{decider: departments.Decider(), streams: []string{departments.Stream(request.ID)}})
	if err != nil {
		return nil, err
	}
	done, err := handle(ctx, d.Handler, caller, departmentTask{
		decider: departments.Decider(),
		command: departments.Rename{Name: name},
		streams: []string{departments.Stream(request.ID)},
		more: func(state departments.State) []string {
			if !state.Exists() {
				return nil
			}
			return []string{departments.NameStream(name), departments.NameStream(state.Name)}
		},
		answer: func(state departments.State, version int64, _ time.Time) response {
			return response{
				status: http.StatusOK, version: version,
				data: api.Department{ID: state.DepartmentID, Name: state.Name, CreatedAt: before.created, Version: version},
			}
		},
	})
	return finish(ctx, d.Handler, d.Reads, caller, done, err, departmentTables...)
}
