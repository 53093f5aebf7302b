package departments

import "github.com/archonhq/archon/domain"

// Created says that there is a department from now on.
type Created struct {
	DepartmentID string `json:"department_id"`
	Name         string `json:"name"`
}

// Renamed says that a department is called Name from now on; Was is what it was called before.
type Renamed struct {
	DepartmentID string `json:"department_id"`
	Name         string `json:"name"`
	Was          string `json:"was"`
}

// NameClaimed says that a name, in any case, stands for a department.
type NameClaimed struct {
	DepartmentID string `json:"department_id"`
	Name         string `json:"name"`
}

// NameReleased says that a name is free again.
type NameReleased struct {
	DepartmentID string `json:"department_id"`
	Name         string `json:"name"`
}

// EventType implements domain.Event.
func (Created) EventType() string { return "department.created.v1" }

// EventType implements domain.Event.
func (Renamed) EventType() string { return "department.renamed.v1" }

// EventType implements domain.Event.
func (NameClaimed) EventType() string { return "departmentname.claimed.v1" }

// EventType implements domain.Event.
func (NameReleased) EventType() string { return "departmentname.released.v1" }

// Events lists every event of this context by its zero value.
func Events() []domain.Event {
	return []domain.Event{Created{}, Renamed{}, NameClaimed{}, NameReleased{}}
}
