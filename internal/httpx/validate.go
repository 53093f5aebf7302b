package httpx

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
)

// checkQuery checks the query against the parameters that the operation has. One that it does not have is an error too: a
// misspelt filter must not silently return everything.
func (o *operation) checkQuery(rawQuery string) error {
	values, err := url.ParseQuery(rawQuery)
	if err != nil {
		return InvalidParameters(map[string]any{"(query)": "is not well-formed"})
	}
	found := problems{}
	for name, sent := range values {
		schema, known := o.query[name]
		switch {
		case !known:
			found.add(showable(name), "is not a known parameter")
		case len(sent) > 1:
			found.add(name, "must be given once")
		default:
			checkParameter(found, name, sent[0], schema)
		}
	}
	if len(found) > 0 {
		return InvalidParameters(found)
	}
	return nil
}

func checkParameter(found problems, name, sent string, schema *openapi3.Schema) {
	if !utf8.ValidString(sent) || strings.ContainsRune(sent, 0) {
		found.add(name, "must be UTF-8 without NUL characters")
		return
	}
	value, err := parseParameter(sent, schema)
	if err != nil {
		found.add(name, "must be "+kindOf(schema))
		return
	}
	if err := schema.VisitJSON(value, schemaOptions()...); err != nil {
		found.addSchemaErrors(name, err)
	}
}

var errNotBoolean = errors.New("neither true nor false")

// parseParameter turns a parameter into the JSON value that its schema is about.
func parseParameter(sent string, schema *openapi3.Schema) (any, error) {
	switch {
	case schema.Type.Is(openapi3.TypeInteger):
		return strconv.ParseInt(sent, decimal, 64)
	case schema.Type.Is(openapi3.TypeBoolean):
		if sent != "true" && sent != "false" {
			return nil, errNotBoolean
		}
		return sent == "true", nil
	default:
		return sent, nil
	}
}

// checkBody checks a body that passed [CheckJSON] against the operation's schema and reports every problem, up to a bound.
func (o *operation) checkBody(body []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	// Numbers keep their text, so that one that no float can hold is judged like any other.
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return malformedBody(ErrJSONSyntax.Error())
	}
	found := problems{}
	checkSizes(found, "", value, o.body)
	if len(found) == 0 {
		checkMore(found, "", value, o.body)
		if err := o.body.VisitJSON(value, schemaOptions()...); err != nil {
			found.addSchemaErrors("", err)
		}
	}
	if len(found) > 0 {
		return Invalid(found)
	}
	return nil
}

// checkSizes finds lists and objects with too many entries. It goes first and alone, because the schema's validator makes an
// error for every entry that is wrong, hundreds of bytes for one of two.
func checkSizes(found problems, path string, value any, schema *openapi3.Schema) {
	switch value := value.(type) {
	case []any:
		if schema.MaxItems != nil && uint64(len(value)) > *schema.MaxItems {
			found.add(path, reasonFor(schema, "maxItems"))
			return
		}
		if schema.Items == nil {
			return
		}
		for i, item := range value {
			checkSizes(found, join(path, strconv.Itoa(i)), item, schema.Items.Value)
		}
	case map[string]any:
		if schema.MaxProps != nil && uint64(len(value)) > *schema.MaxProps {
			found.add(path, reasonFor(schema, "maxProperties"))
			return
		}
		if known := len(schema.Properties); len(value) > known+maxProblems && known > 0 {
			found.add(path, "has too many fields")
			return
		}
		for name, property := range schema.Properties {
			if sent, ok := value[name]; ok {
				checkSizes(found, join(path, name), sent, property.Value)
			}
		}
	}
}

// checkMore checks what the schema's validator does not: the keys of objects whose schema has a pattern for them, and that
// whole numbers are written as such, since Go's decoder does not take 1.0 or 1e2 for one.
func checkMore(found problems, path string, value any, schema *openapi3.Schema) {
	switch value := value.(type) {
	case json.Number:
		if _, err := strconv.ParseInt(value.String(), decimal, 64); err != nil && schema.Type.Is(openapi3.TypeInteger) {
			found.add(path, "must be a whole number in range, without fraction or exponent")
		}
	case []any:
		if schema.Items != nil {
			for i, item := range value {
				checkMore(found, join(path, strconv.Itoa(i)), item, schema.Items.Value)
			}
		}
	case map[string]any:
		pattern, has := schema.Extensions[extensionNames].(*regexp.Regexp)
		for name, sent := range value {
			if has && !pattern.MatchString(name) {
				found.add(join(path, name), "is not a valid name")
			}
			if property := schema.Properties[name]; property != nil {
				checkMore(found, join(path, name), sent, property.Value)
			}
		}
	}
}

// schemaOptions report all problems and take a time to be what Go's parser takes, since handlers get it parsed.
func schemaOptions() []openapi3.SchemaValidationOption {
	isTime := openapi3.NewCallbackValidator(func(text string) error {
		_, err := time.Parse(time.RFC3339, text)
		return err
	})
	return []openapi3.SchemaValidationOption{
		openapi3.MultiErrors(), openapi3.VisitAsRequest(), openapi3.WithStringFormatValidator("date-time", isTime),
	}
}
