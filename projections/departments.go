package projections

import (
	"github.com/archonhq/archon/domain/departments"
)

// DepartmentsName is the name of the projection of departments.
const DepartmentsName = "departments"

// Departments builds departments and department_names.
type Departments struct{}

var _ Rebuildable = Departments{}

// Name implements Projector.
func (Departments) Name() string { return DepartmentsName }

// Version implements Projector.
func (Departments) Version() int { return 1 }

// Tables implements Rebuildable.
func (Departments) Tables() []string {
	return []string{"departments", "department_names"}
}

// Handles implements Projector.
func (Departments) Handles() []string {
	return []string{departments.Created{}.EventType(), departments.Renamed{}.EventType()}
}

// Project implements Projector.
func (Departments) Project(events []Event, out *Statements) error {
	for i := range events {
		event := &events[i]
		switch payload := event.Payload.(type) {
		case departments.Created:
			out.Exec(`insert into departments (tenant_id, id, name, version, created_at, updated_at) values ($1, $2, $3, $4, $5, $5)`,
				event.Tenant, payload.DepartmentID, payload.Name, event.Version, event.Time())
			nameDepartment(event, payload.DepartmentID, payload.Name, out)
		case departments.Renamed:
			out.Exec(`update departments set name = $3, version = $4, updated_at = $5 where tenant_id = $1 and id = $2`,
				event.Tenant, payload.DepartmentID, payload.Name, event.Version, event.Time())
			nameDepartment(event, payload.DepartmentID, payload.Name, out)
		}
	}
	return nil
}

func nameDepartment(event *Event, id, name string, out *Statements) {
	out.Exec(`insert into department_names (tenant_id, department_id, version, name, recorded_position, created_at) values ($1, $2, $3, $4, $5, $6)`,
		event.Tenant, id, event.Version, name, event.Position, event.Time())
}
