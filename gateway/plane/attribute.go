package plane

import (
	"net/http"

	"github.com/archonhq/archon/domain"
)

// HeaderDepartment is the header of a request that names a department.
const HeaderDepartment = "X-Archon-Department"

// maxDepartmentRunes is what keys and tokens may have, too.
const maxDepartmentRunes = 200

// attribute settles on whose account the call is: the key's department, else that of the token's claim, else the one that the
// request names. A call without any is nobody's in particular. None of them has to be a department that somebody has named:
// costs are kept by id, and shown by name where there is one.
func (r *run) attribute() *Problem {
	if r.caller.DepartmentID == "" && r.caller.NamedDepartment != "" {
		if reason := domain.NameProblem(r.caller.NamedDepartment, maxDepartmentRunes); reason != "" {
			return &Problem{
				Status: http.StatusBadRequest, Type: typeInvalid, Code: "invalid_value", Param: HeaderDepartment,
				Message: "The department's id " + reason + ".",
			}
		}
		r.caller.DepartmentID = r.caller.NamedDepartment
	}
	r.recorded.DepartmentID = r.caller.DepartmentID
	return nil
}
