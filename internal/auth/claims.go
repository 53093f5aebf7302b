package auth

import (
	"slices"
	"strings"
	"time"

	// This decoder, unlike the standard one, tells `Sub` from `sub` and refuses a name that comes twice.
	"github.com/go-jose/go-jose/v4/json"
)

// claims are the payload of a token whose signature was checked.
type claims map[string]any

func parseClaims(payload []byte) (claims, error) {
	var c claims
	if err := json.Unmarshal(payload, &c); err != nil || c == nil {
		return nil, refuse(reasonClaims)
	}

	return c, nil
}

// lookup finds a claim by its name or, where that does not exist, by descending into objects at the dots. Names may
// hold dots themselves, at every depth: Keycloak's resource_access.my.client.roles, or https://example.com/roles.
func lookup(object map[string]any, path string) (any, bool) {
	if value, ok := object[path]; ok {
		return value, true
	}

	for i, char := range path {
		if char != '.' {
			continue
		}

		child, isObject := object[path[:i]].(map[string]any)
		if !isObject {
			continue
		}

		if value, ok := lookup(child, path[i+1:]); ok {
			return value, true
		}
	}

	return nil, false
}

// text returns a claim that is a string, else "".
func (c claims) text(path string) string {
	value, _ := lookup(c, path)
	text, _ := value.(string)

	return text
}

// texts returns a claim that is a list of strings, or one string cut by split. It is nil where the claim is absent;
// ok is false where it is anything else.
func (c claims) texts(path string, split func(string) []string) (all []string, ok bool) {
	value, _ := lookup(c, path)

	switch value := value.(type) {
	case nil:
		return nil, true
	case string:
		return split(value), true
	case []any:
		for _, item := range value {
			text, isText := item.(string)
			if !isText {
				return nil, false
			}

			all = append(all, text)
		}

		return all, true
	default:
		return nil, false
	}
}

// maxNumericDate is the last second of the year 9999; later ones can't be written as RFC 3339.
const maxNumericDate = 253402300799

// date returns a claim that is a NumericDate: seconds since 1970, maybe with a fraction. present says that there is
// such a claim, ok that it is a date.
func (c claims) date(name string) (t time.Time, present, ok bool) {
	value, present := c[name]

	seconds, isNumber := value.(float64)
	if !isNumber || seconds < 0 || seconds > maxNumericDate {
		return time.Time{}, present, false
	}

	whole := int64(seconds)

	return time.Unix(whole, int64((seconds-float64(whole))*float64(time.Second))).UTC(), true, true
}

// hasAudience says whether `aud`, a string or a list of strings, names the audience.
func (c claims) hasAudience(audience string) bool {
	all, ok := c.texts("aud", func(one string) []string { return []string{one} })

	return ok && slices.Contains(all, audience)
}

// name returns what to call the user, or "" where no claim of it is fit to be shown.
func (c claims) name() string {
	for _, claim := range []string{"name", "preferred_username"} {
		if name := strings.TrimSpace(c.text(claim)); name != "" && len(name) <= maxNameBytes && isText(name) {
			return name
		}
	}

	return ""
}

// department returns the claim that says on whose account calls are: a string, or a list of one. It is "" where there is no
// such claim, and where it is not fit to be kept: a token opens what it opens all the same.
func (c claims) department(path string) string {
	all, ok := c.texts(path, func(one string) []string { return []string{one} })
	if !ok || len(all) != 1 {
		return ""
	}

	department := strings.TrimSpace(all[0])
	if !ValidDepartment(department) {
		return ""
	}

	return department
}

// roles returns the known roles of a claim.
func (c claims) roles(path string) ([]Role, error) {
	names, ok := c.texts(path, strings.Fields)
	if !ok {
		return nil, refuse(reasonRoles)
	}

	var roles []Role

	for _, name := range names {
		if role, known := ParseRole(name); known {
			roles = append(roles, role)
		}
	}

	slices.Sort(roles)

	return slices.Compact(roles), nil
}
