package plane

import "context"

// attribute settles on whose account the call is: the key's department, else that of the token's claim, else the one that the
// request names. A call without any is nobody's in particular.
func (r *run) attribute(ctx context.Context) *Problem {
	if r.caller.DepartmentID == "" && r.caller.NamedDepartment != "" {
		known, problem := r.knowsDepartment(ctx, r.caller.NamedDepartment)
		if problem != nil {
			return problem
		}
		if !known {
			return unknownDepartment()
		}
		r.caller.DepartmentID = r.caller.NamedDepartment
	}
	r.recorded.DepartmentID = r.caller.DepartmentID
	return nil
}

// knowsDepartment tells whether there is a department. One that is not known is looked for once more, since it works from the
// moment its answer was sent, on every node, and who makes names up waits, as with keys.
func (r *run) knowsDepartment(ctx context.Context, id string) (bool, *Problem) {
	_, known := r.snapshot.Departments[id]
	if known || r.snapshot.Checked.After(r.started) {
		return known, nil
	}
	pause(ctx, lookApart-r.Now().Sub(r.snapshot.Checked))
	snapshot, err := r.Directory.Since(ctx, r.caller.Tenant, r.started)
	if err != nil {
		return false, r.fault(ctx, "look a department up", err)
	}
	r.snapshot = snapshot
	_, known = snapshot.Departments[id]
	return known, nil
}
