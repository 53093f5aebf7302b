package readapi

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain/departments"
	"github.com/archonhq/archon/internal/httpx"
)

// Departments answers what departments there are and were.
type Departments struct {
	Database Database
	History  History
}

// departmentRow is a department as it was called at a position.
type departmentRow struct {
	ID        string
	Name      string
	Version   int64
	CreatedAt time.Time
}

// departmentsAt are the departments as of the position $2, or of now where that is null.
const departmentsAt = `select d.id, coalesce(n.name, d.name) as name, coalesce(n.version, d.version) as version, d.created_at
	from departments d left join (
		select distinct on (department_id) department_id, name, version from department_names
		where tenant_id = $1 and $2::bigint is not null and recorded_position <= $2 order by department_id, version desc
	) n on n.department_id = d.id
	where d.tenant_id = $1 and ($2::bigint is null or n.name is not null)`

// departmentCursor is where a page of the list ended.
type departmentCursor struct {
	Name string `json:"n"`
	ID   string `json:"i"`
}

var errDepartmentCursor = errors.New("not a place in a list of departments")

// UnmarshalJSON takes what a cursor may hold, since a client can make one up.
func (c *departmentCursor) UnmarshalJSON(data []byte) error {
	type plain departmentCursor
	if err := json.Unmarshal(data, (*plain)(c)); err != nil {
		return err //nolint:wrapcheck // becomes invalid_cursor
	}
	if strings.ContainsRune(c.Name+c.ID, 0) {
		return errDepartmentCursor
	}
	return nil
}

// ListDepartments implements api.StrictServerInterface.
func (d *Departments) ListDepartments(ctx context.Context, request api.ListDepartmentsRequestObject) (api.ListDepartmentsResponseObject, error) {
	var after departmentCursor
	page, err := pageOf("departments", request.Params.Limit, request.Params.Cursor, &after)
	if err != nil {
		return nil, err
	}
	position, err := d.position(ctx, request.Params.AsOf)
	if err != nil {
		return nil, err
	}
	rows, err := query[departmentRow](ctx, d.Database, httpx.From(ctx).Principal.Tenant, `select * from (`+departmentsAt+`) l
		where (l.name, l.id) > ($3 collate "C", $4 collate "C") order by l.name, l.id limit $5`, position, after.Name, after.ID, page.limit+1)
	if err != nil {
		return nil, err
	}
	if rows, err = cut(&page, rows, func(last departmentRow) any { return departmentCursor{last.Name, last.ID} }); err != nil {
		return nil, err
	}
	list := make([]api.Department, len(rows))
	for i := range rows {
		list[i] = rows[i].department()
	}
	return api.ListDepartments200JSONResponse{Data: list, Meta: page.meta(ctx)}, nil
}

// GetDepartment implements api.StrictServerInterface.
func (d *Departments) GetDepartment(ctx context.Context, request api.GetDepartmentRequestObject) (api.GetDepartmentResponseObject, error) {
	if !departments.ValidID(request.ID) {
		return nil, departments.ErrNotFound
	}
	position, err := d.position(ctx, request.Params.AsOf)
	if err != nil {
		return nil, err
	}
	rows, err := query[departmentRow](ctx, d.Database, httpx.From(ctx).Principal.Tenant, departmentsAt+` and d.id = $3`, position, request.ID)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, departments.ErrNotFound
	}
	etag := httpx.ETag(rows[0].Version)
	return api.GetDepartment200JSONResponse{
		Body:    api.DepartmentEnvelope{Data: rows[0].department(), Meta: httpx.Meta(ctx)},
		Headers: api.GetDepartment200ResponseHeaders{ETag: &etag},
	}, nil
}

// position is the one that was the head at a time; nil for now.
func (d *Departments) position(ctx context.Context, asOf *time.Time) (*int64, error) {
	if asOf == nil {
		return nil, nil //nolint:nilnil // now
	}
	position, err := d.History.PositionAt(ctx, httpx.From(ctx).Principal.Tenant, *asOf)
	return &position, err //nolint:wrapcheck // the store's errors are part of the API
}

func (r *departmentRow) department() api.Department {
	return api.Department{ID: r.ID, Name: r.Name, Version: r.Version, CreatedAt: r.CreatedAt.UTC()}
}

func departmentNames(ctx context.Context, db Database, tenant string) (map[string]string, error) {
	rows, err := query[struct{ ID, Name string }](ctx, db, tenant, `select id, name from departments where tenant_id = $1`)
	names := make(map[string]string, len(rows))
	for _, row := range rows {
		names[row.ID] = row.Name
	}
	return names, err
}
