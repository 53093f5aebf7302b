package auth_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/archonhq/archon/internal/auth"
)

func TestRolesAndRequirements(t *testing.T) {
	t.Parallel()

	type row struct {
		has    []auth.Role
		allows []auth.Requirement
	}

	const viewer, operator, admin, auditor = auth.RoleViewer, auth.RoleOperator, auth.RoleAdmin, auth.RoleAuditor

	for held, want := range map[string]row{
		"":                 {nil, []auth.Requirement{auth.RequireToken}},
		"root":             {nil, []auth.Requirement{auth.RequireToken}},
		"viewer":           {[]auth.Role{viewer}, []auth.Requirement{auth.RequireToken, auth.RequireViewer}},
		"operator":         {[]auth.Role{viewer, operator}, []auth.Requirement{auth.RequireToken, auth.RequireViewer, auth.RequireOperator}},
		"auditor":          {[]auth.Role{viewer, auditor}, []auth.Requirement{auth.RequireToken, auth.RequireViewer, auth.RequireAudit}},
		"auditor operator": {[]auth.Role{viewer, operator, auditor}, []auth.Requirement{auth.RequireToken, auth.RequireViewer, auth.RequireOperator, auth.RequireAudit}},
		"admin":            {auth.Roles(), []auth.Requirement{auth.RequireToken, auth.RequireViewer, auth.RequireOperator, auth.RequireAdmin, auth.RequireAudit}},
	} {
		principal := auth.Principal{UserID: "ada", Tenant: "acme"}
		for name := range strings.FieldsSeq(held) {
			principal.Roles = append(principal.Roles, auth.Role(name))
		}

		for _, role := range append(auth.Roles(), "root", "") {
			if got := principal.Has(role); got != slices.Contains(want.has, role) {
				t.Errorf("%q has %q: %t", held, role, got)
			}
		}

		for required := range auth.RequireAudit + 2 {
			if got := principal.Allows(required); got != slices.Contains(want.allows, required) {
				t.Errorf("%q allows %d: %t", held, required, got)
			}
		}
	}

	for required := range auth.RequireAudit + 2 {
		if (auth.Principal{}).Allows(required) {
			t.Errorf("the zero principal is allowed %d", required)
		}
	}
}

func TestParseRole(t *testing.T) {
	t.Parallel()

	for _, role := range auth.Roles() {
		if got, ok := auth.ParseRole(string(role)); !ok || got != role {
			t.Errorf("ParseRole(%q) = %q, %t", role, got, ok)
		}
	}

	for _, name := range []string{"", "Admin", "root", "admin "} {
		if _, ok := auth.ParseRole(name); ok {
			t.Errorf("ParseRole(%q) is known", name)
		}
	}
}

func TestValidTenantID(t *testing.T) {
	t.Parallel()

	for id, want := range map[string]bool{
		"a": true, "0": true, "a-b_c9": true, strings.Repeat("a", 63): true,
		"": false, "-a": false, "_a": false, "A": false, "a.b": false, "a b": false, "a/b": false, "ä": false, "a\n": false,
		strings.Repeat("a", 64): false,
	} {
		if auth.ValidTenantID(id) != want {
			t.Errorf("ValidTenantID(%q) = %t", id, !want)
		}
	}
}

func TestValidUserID(t *testing.T) {
	t.Parallel()

	for id, want := range map[string]bool{
		"ada": true, "auth0|507f": true, "Ada Lovelace": true, "ü": true, strings.Repeat("a", 255): true,
		"": false, strings.Repeat("a", 256): false, "a\x00": false, "a\r\nb": false, "\x7f": false, "\u0085": false, "\xff": false,
	} {
		if auth.ValidUserID(id) != want {
			t.Errorf("ValidUserID(%q) = %t", id, !want)
		}
	}
}
