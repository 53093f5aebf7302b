package httpx

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// maxProblems bounds how many problems of one request are reported: a body of 1 MiB can have hundreds of thousands.
const maxProblems = 50

// wholeBody is what problems of the body as such are reported under.
const wholeBody = "(body)"

// problems maps a field or parameter to what is wrong with it. Reasons are built from the schema alone: kin-openapi's own
// texts may quote values.
type problems map[string]any

// add notes the first reason for a path.
func (p problems) add(path, reason string) {
	field := cmp.Or(path, wholeBody)
	if _, found := p[field]; !found && len(p) < maxProblems {
		p[field] = reason
	}
}

// addSchemaErrors notes what kin-openapi found below the path.
func (p problems) addSchemaErrors(path string, err error) {
	if several, ok := errors.AsType[openapi3.MultiError](err); ok {
		for _, one := range several {
			p.addSchemaErrors(path, one)
		}
		return
	}
	var one *openapi3.SchemaError
	if !errors.As(err, &one) {
		p.add(path, "does not fit")
		return
	}
	field := path
	for _, key := range one.JSONPointer() {
		field = join(field, key)
	}
	if one.SchemaField == "properties" {
		p.addUnknown(field, one)
		return
	}
	p.add(field, reasonFor(one.Schema, one.SchemaField))
}

// addUnknown notes the fields of an object that its schema does not have.
func (p problems) addUnknown(path string, err *openapi3.SchemaError) {
	object, _ := err.Value.(map[string]any)
	for name := range object {
		if err.Schema.Properties[name] == nil {
			p.add(join(path, name), "is not a known field")
		}
	}
}

// join appends a key to a path. A key is the client's text where the schema does not name it.
func join(path, key string) string {
	if path == "" {
		return showable(key)
	}
	return path + "." + showable(key)
}

const (
	maxShownName   = 40
	maxShownDigits = 4
	// hiddenName stands for names that are not repeated.
	hiddenName = "*"
)

// showable returns the name of a field or parameter, if it looks like one. What is long or full of digits or signs could be
// a secret that ended up in the wrong place, and is not repeated.
func showable(name string) string {
	digits := 0
	for _, char := range name {
		switch {
		case '0' <= char && char <= '9':
			digits++
		case 'a' <= char && char <= 'z', 'A' <= char && char <= 'Z', char == '_', char == '-':
		default:
			return hiddenName
		}
	}
	if name == "" || len(name) > maxShownName || digits > maxShownDigits {
		return hiddenName
	}
	return name
}

// extensionReason names the extension of a schema that says in words what its pattern, or its number of fields, demands.
const extensionReason = "x-archon-reason"

// reasonFor says what a keyword of a schema demands.
func reasonFor(schema *openapi3.Schema, keyword string) string {
	if reason, found := schema.Extensions[extensionReason].(string); found {
		switch keyword {
		case "pattern", "minProperties", "maxProperties":
			return reason
		}
	}
	switch keyword {
	case "required":
		return "is required"
	case "nullable":
		return "must not be null"
	case "type":
		return "must be " + kindOf(schema)
	case "enum":
		return "must be one of: " + choices(schema)
	case "minimum", "maximum":
		return rangeOf(schema, keyword)
	case "minLength", "maxLength":
		return lengthOf(schema, keyword)
	case "format":
		return formatOf(schema)
	default:
		return countOf(schema, keyword)
	}
}

func kindOf(schema *openapi3.Schema) string {
	switch {
	case schema.Type.Is(openapi3.TypeObject):
		return "an object"
	case schema.Type.Is(openapi3.TypeArray):
		return "a list"
	case schema.Type.Is(openapi3.TypeInteger):
		return orNull(schema, "a whole number")
	case schema.Type.Is(openapi3.TypeNumber):
		return orNull(schema, "a number")
	case schema.Type.Is(openapi3.TypeBoolean):
		return "true or false"
	default:
		return orNull(schema, "text")
	}
}

func orNull(schema *openapi3.Schema, kind string) string {
	if schema.Nullable {
		return kind + " or null"
	}
	return kind
}

func choices(schema *openapi3.Schema) string {
	texts := make([]string, 0, len(schema.Enum))
	for _, choice := range schema.Enum {
		texts = append(texts, fmt.Sprint(choice))
	}
	return strings.Join(texts, ", ")
}

func rangeOf(schema *openapi3.Schema, keyword string) string {
	if keyword == "minimum" {
		return "must be at least " + strconv.FormatFloat(*schema.Min, 'f', -1, 64)
	}
	return "must be at most " + strconv.FormatFloat(*schema.Max, 'f', -1, 64)
}

func lengthOf(schema *openapi3.Schema, keyword string) string {
	switch {
	case keyword == "maxLength":
		return fmt.Sprintf("must be at most %d characters long", *schema.MaxLength)
	case schema.MinLength == 1:
		return "must not be empty"
	default:
		return fmt.Sprintf("must be at least %d characters long", schema.MinLength)
	}
}

func formatOf(schema *openapi3.Schema) string {
	if schema.Format == "date-time" {
		return "must be a time such as 2025-06-13T09:41:07Z"
	}
	return "is out of range or of the wrong form"
}

func countOf(schema *openapi3.Schema, keyword string) string {
	switch keyword {
	case "minItems":
		return fmt.Sprintf("must have at least %d entries", schema.MinItems)
	case "maxItems":
		return fmt.Sprintf("must have at most %d entries", *schema.MaxItems)
	case "uniqueItems":
		return "must not have the same entry twice"
	case "minProperties":
		return fmt.Sprintf("must have at least %d fields", schema.MinProps)
	case "maxProperties":
		return fmt.Sprintf("must have at most %d fields", *schema.MaxProps)
	default:
		return "has the wrong form"
	}
}
