package httpx

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/archonhq/archon/internal/auth"
)

// apiPrefix is that of the paths whose operations are generated; the others of the document are mounted by hand.
const apiPrefix = "/api/"

// extensionRole names the extension of an operation that says which role it needs.
const extensionRole = "x-archon-role"

// operation is what the middleware needs to know of one operation of the document.
type operation struct {
	id, method, path string
	requirement      auth.Requirement
	// role is the requirement as the document spells it.
	role string
	// status is that of a success.
	status int
	// types are the media types of a success, JSON first.
	types []string
	query map[string]*openapi3.Schema
	// body is nil where the operation takes none.
	body *openapi3.Schema
}

// isWrite tells operations that change something from those that only read.
func (o *operation) isWrite() bool { return o.method != http.MethodGet }

// loadOperations reads the operations below apiPrefix, by operationId. It fails on a document that the middleware could
// not enforce: it is a fault of the build.
func loadOperations(document []byte) (map[string]*operation, error) {
	doc, err := openapi3.NewLoader().LoadFromData(document)
	if err != nil {
		return nil, fmt.Errorf("load the OpenAPI document: %w", err)
	}
	operations := map[string]*operation{}
	for path, item := range doc.Paths.Map() {
		if !strings.HasPrefix(path, apiPrefix) {
			continue
		}
		for method, described := range item.Operations() {
			loaded, err := loadOperation(method, path, item, described)
			if err != nil {
				return nil, fmt.Errorf("operation %s %s: %w", method, path, err)
			}
			operations[loaded.id] = loaded
		}
	}
	return operations, nil
}

func loadOperation(method, path string, item *openapi3.PathItem, described *openapi3.Operation) (*operation, error) {
	o := &operation{id: described.OperationID, method: method, path: path, query: map[string]*openapi3.Schema{}}
	o.role, _ = described.Extensions[extensionRole].(string)
	if o.requirement = requirementOf(o.role); o.requirement == 0 {
		return nil, fmt.Errorf("%s is missing or unknown", extensionRole)
	}
	if o.status = successOf(described); o.status == 0 {
		return nil, errors.New("no success is described")
	}
	o.types = typesOf(described, o.status)
	for _, parameters := range []openapi3.Parameters{item.Parameters, described.Parameters} {
		for _, parameter := range parameters {
			if parameter.Value.In == openapi3.ParameterInQuery {
				o.query[parameter.Value.Name] = parameter.Value.Schema.Value
			}
		}
	}
	if described.RequestBody != nil {
		media := described.RequestBody.Value.Content.Get(mediaTypeJSON)
		if media == nil || media.Schema == nil || !described.RequestBody.Value.Required {
			return nil, errors.New("the body is not required JSON with a schema")
		}
		o.body = media.Schema.Value
	}
	return o, compileNames(o.body)
}

func requirementOf(role string) auth.Requirement {
	switch role {
	case "any":
		return auth.RequireToken
	case "viewer":
		return auth.RequireViewer
	case "operator":
		return auth.RequireOperator
	case "admin":
		return auth.RequireAdmin
	case "audit":
		return auth.RequireAudit
	default:
		return 0
	}
}

// successOf is the lowest status below 400 that the operation describes, or 0.
func successOf(described *openapi3.Operation) int {
	lowest := 0
	for code := range described.Responses.Map() {
		status, err := strconv.Atoi(code)
		if err == nil && status < http.StatusBadRequest && (lowest == 0 || status < lowest) {
			lowest = status
		}
	}
	return lowest
}

// typesOf are the media types of an answer, JSON first. Where it has no body that is what its failures are in.
func typesOf(described *openapi3.Operation, status int) []string {
	types := []string{mediaTypeJSON}
	for name := range described.Responses.Status(status).Value.Content {
		if name != mediaTypeJSON {
			types = append(types, name)
		}
	}
	slices.Sort(types[1:])
	return types
}

// extensionNames names the extension of an object's schema that holds the pattern of its keys, which OpenAPI 3.0 has no
// word for.
const extensionNames = "x-archon-property-names"

// compileNames replaces the patterns of keys by their compiled form, everywhere in a schema.
func compileNames(schema *openapi3.Schema) error {
	if schema == nil {
		return nil
	}
	if pattern, found := schema.Extensions[extensionNames].(string); found {
		compiled, err := regexp.Compile(pattern)
		if err != nil {
			return fmt.Errorf("%s: %w", extensionNames, err)
		}
		schema.Extensions[extensionNames] = compiled
	}
	for _, property := range schema.Properties {
		if err := compileNames(property.Value); err != nil {
			return err
		}
	}
	if schema.Items != nil {
		return compileNames(schema.Items.Value)
	}
	return nil
}
