package auth

import (
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Principal is a verified caller.
type Principal struct {
	// Tenant is the id of the tenant that the caller acts in; [ValidTenantID] holds.
	Tenant string
	// UserID is the token's `sub`; [ValidUserID] holds.
	UserID string
	// Name is for people to read: the token's `name`, else its `preferred_username`, else empty.
	Name string
	// Roles are those that Archon knows, sorted, each once; there may be none.
	Roles []Role
	// Department is on whose account the user's calls are, as the issuer says; empty where it does not say.
	Department string
	// ExpiresAt is the token's `exp`; a long-lived connection ends then.
	ExpiresAt time.Time
}

// Has says whether one of the principal's roles is, or includes, role.
func (p Principal) Has(role Role) bool {
	return slices.ContainsFunc(p.Roles, func(held Role) bool { return held.includes(role) })
}

// Allows says whether the principal meets the requirement. The zero Principal meets none.
func (p Principal) Allows(required Requirement) bool {
	switch required {
	case RequireToken:
		return p.UserID != ""
	case RequireViewer:
		return p.Has(RoleViewer)
	case RequireOperator:
		return p.Has(RoleOperator)
	case RequireAdmin:
		return p.Has(RoleAdmin)
	case RequireAudit:
		return p.Has(RoleAuditor)
	default:
		return false
	}
}

const (
	maxTenantBytes = 63
	maxUserBytes   = 255
	maxNameBytes   = 255

	maxDepartmentBytes = 200
)

// ValidTenantID says whether id matches ^[a-z0-9][a-z0-9_-]{0,62}$.
func ValidTenantID(id string) bool {
	if id == "" || len(id) > maxTenantBytes || id[0] == '_' || id[0] == '-' {
		return false
	}

	return strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789_-") == ""
}

// ValidUserID says whether id is 1 to 255 bytes of UTF-8 without control characters.
func ValidUserID(id string) bool {
	return id != "" && len(id) <= maxUserBytes && isText(id)
}

// ValidDepartment says whether a department can be in a token: at most 200 bytes of UTF-8 without control characters, none
// at all included.
func ValidDepartment(department string) bool {
	return len(department) <= maxDepartmentBytes && isText(department)
}

// isText says whether s is UTF-8 without control characters, safe in a log line, a header and PostgreSQL's text.
func isText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}
