package gateway

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/archonhq/archon/internal/netguard"
)

// maxCredentialBytes is room for any key, service-account files included.
const maxCredentialBytes = 8 << 10

// fieldName is what a field's name may look like when a problem repeats it: a
// key that was sent as a name by mistake must not be.
var fieldName = regexp.MustCompile(`^[a-z][a-z_]{0,31}$`)

// ValidateCredentials checks credentials against the type's schema. It returns
// them with surrounding spaces trimmed and defaults filled in, or else the
// problems by field name, values left out. An empty value counts as none, but for
// prefix and models_path of custom, where it means "none at all". URLs are checked
// against policy where they were sent; a default is checked when it is dialled.
func ValidateCredentials(
	t ProviderType, credentials map[string]string, policy netguard.Policy,
) (normalised, problems map[string]string) {
	schema, known := CredentialSchemas()[t]
	if !known {
		return nil, map[string]string{"type": "unknown provider type"}
	}

	normalised, problems = make(map[string]string), make(map[string]string)

	for name, value := range credentials {
		if _, known := schema.Field(name); !known && value != "" {
			problems[printableName(name)] = "is not a credential field of this provider type"
		}
	}

	for _, field := range schema.Fields {
		value, sent := credentials[field.Name]
		value = strings.Trim(value, " ")

		switch problem := checkField(field, value, policy); {
		case value == "" && !(sent && field.emptyCounts):
			fillDefault(field, normalised, problems)
		case problem != "":
			problems[field.Name] = problem
		default:
			normalised[field.Name] = value
		}
	}

	if len(problems) > 0 {
		return nil, problems
	}

	return normalised, nil
}

// WithBaseURL returns a copy of credentials in which the field that names the
// base URL (endpoint of azure_openai, base_url of ollama) is baseURL where it
// was not sent, so that a provider registered with a base_url need not repeat it.
func WithBaseURL(t ProviderType, credentials map[string]string, baseURL string) map[string]string {
	filled := maps.Clone(credentials)
	if filled == nil {
		filled = make(map[string]string)
	}

	if field := urlField(t); field != "" && baseURL != "" && filled[field] == "" {
		filled[field] = baseURL
	}

	return filled
}

func fillDefault(field Field, normalised, problems map[string]string) {
	switch {
	case field.Default != "":
		normalised[field.Name] = field.Default
	case field.Required:
		problems[field.Name] = "is required"
	}
}

func printableName(name string) string {
	if fieldName.MatchString(name) {
		return name
	}

	return "credentials"
}

// checkField returns what is wrong with a value, or "".
func checkField(field Field, value string, policy netguard.Policy) string {
	switch {
	case len(value) > maxCredentialBytes:
		return "is longer than " + strconv.Itoa(maxCredentialBytes) + " bytes"
	case !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl):
		return "holds a line break or another control character"
	}

	switch field.Type {
	case FieldURL:
		return checkURL(value, policy)
	case FieldPassword:
		return checkPassword(value)
	case FieldNumber:
		return checkNumber(value)
	case FieldSelect:
		return checkSelect(field.Options, value)
	case FieldText:
		return checkText(field.Name, value)
	default:
		return ""
	}
}

func checkURL(value string, policy netguard.Policy) string {
	if _, err := policy.CheckURL(value); err != nil {
		return err.Error() // a netguard.Refusal, which never echoes the URL
	}

	return ""
}

// checkPassword catches keys pasted with typographic quotes: they travel in a header.
func checkPassword(value string) string {
	if !isPrintableASCII(value) {
		return "holds a character that no key has; was it copied with quotes around it?"
	}

	return ""
}

func checkNumber(value string) string {
	if _, err := strconv.ParseFloat(value, 64); err != nil {
		return "is not a number"
	}

	return ""
}

func checkSelect(options []string, value string) string {
	if !slices.Contains(options, value) {
		return "must be one of " + strings.Join(options, ", ")
	}

	return ""
}

func checkText(name, value string) string {
	switch name {
	case fieldHeader:
		if err := ValidateHeader(value, ""); err != nil {
			return err.Error()
		}
	case fieldPrefix:
		if ValidateHeader("X", value) != nil {
			return ErrHeaderValue.Error()
		}
	case fieldModelsPath:
		return checkModelsPath(value)
	}

	return ""
}

func checkModelsPath(value string) string {
	if value == "" || value == noModelsPath {
		return ""
	}

	parsed, err := url.Parse(value)
	if err != nil || parsed.IsAbs() || parsed.Host != "" || strings.ContainsAny(value, `?#\`) || strings.Contains(value, "..") {
		return `must be a path below the base URL like /v1/models, or "none"`
	}

	return ""
}
