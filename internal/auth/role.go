package auth

import "slices"

// Role is a name that a token's roles claim may hold. Others in the claim are none of Archon's.
type Role string

// The roles: admin includes operator, operator includes viewer; auditor is a viewer who also reads audit and events,
// which an admin does too.
const (
	// RoleViewer reads.
	RoleViewer Role = "viewer"
	// RoleOperator runs things: connection tests, routes, executions, scans, rebuilds.
	RoleOperator Role = "operator"
	// RoleAdmin writes configuration, keys, budgets and prices.
	RoleAdmin Role = "admin"
	// RoleAuditor reads audit and events.
	RoleAuditor Role = "auditor"
)

// Roles lists all roles.
func Roles() []Role { return []Role{RoleViewer, RoleOperator, RoleAdmin, RoleAuditor} }

// ParseRole returns the role of that exact name; ok is false where there is none.
func ParseRole(name string) (role Role, ok bool) {
	role = Role(name)

	return role, slices.Contains(Roles(), role)
}

// includes says whether a holder of r may do what a holder of other may.
func (r Role) includes(other Role) bool {
	switch r {
	case RoleAdmin:
		return slices.Contains(Roles(), other)
	case RoleOperator:
		return other == RoleOperator || other == RoleViewer
	case RoleAuditor:
		return other == RoleAuditor || other == RoleViewer
	case RoleViewer:
		return other == RoleViewer
	default:
		return false
	}
}

// Requirement is what a route asks of its caller. The zero value is met by nobody, so that a route which was never
// given one is closed.
type Requirement uint8

// The requirements.
const (
	// RequireToken is met by every verified token, even without a role that Archon knows.
	RequireToken Requirement = iota + 1
	// RequireViewer is for reading; every role meets it.
	RequireViewer
	// RequireOperator is for running things.
	RequireOperator
	// RequireAdmin is for writing configuration.
	RequireAdmin
	// RequireAudit is for reading audit and events: auditors and admins, but not operators.
	RequireAudit
)
