package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/cmd/archon/cli"
	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/gatewaytest"
)

const (
	auditPath       = "/api/v1/audit"
	verifyPath      = "/api/v1/audit/verify"
	projectionsPath = "/api/v1/projections"
	jobsPath        = "/api/v1/jobs"
	mePath          = "/api/v1/me"
	eventsPath      = "/api/v1/events"
	streamsPath     = "/api/v1/streams"
	ticketPath      = "/api/v1/ws-ticket"
	keysPath        = "/api/v1/keys"
	pricingPath     = "/api/v1/cost/pricing"
	budgetsPath     = "/api/v1/cost/budget"
	alertsPath      = "/api/v1/alerts"
	dashboardPath   = "/api/v1/cost/dashboard"
	breakdownPath   = "/api/v1/cost/breakdown"
	forecastPath    = "/api/v1/cost/forecast"
	exportPath      = "/api/v1/cost/export"
	settingsPath    = "/api/v1/cost/settings"
	departmentsPath = "/api/v1/departments"
	repricePath     = "/api/v1/cost/reprice"
	repricingsPath  = "/api/v1/cost/repricings"
)

// uuidPattern is what ids that Archon makes look like: UUIDs of version 7.
const uuidPattern = `^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`

// document is the OpenAPI document as the binary has it.
func document() *openapi3.T {
	GinkgoHelper()
	doc, err := openapi3.NewLoader().LoadFromData(api.Document())
	Expect(err).NotTo(HaveOccurred())
	return doc
}

// surface is an installation whose every answer is held against the OpenAPI document.
type surface struct {
	*installation

	doc     *openapi3.T
	running *archon
	// owner is the superuser's connection string, once it was asked for.
	owner string
	// flooded says that refusals come faster than each of them is recorded.
	flooded bool
}

// surfaceOf holds the answers of a running Archon against the document.
func surfaceOf(running *archon) *surface {
	GinkgoHelper()
	return &surface{installation: running.installation, doc: document(), running: running}
}

// token is a token of the embedded issuer, made without a process of its own.
func (s *surface) token(tenant, user string, roles ...string) string {
	GinkgoHelper()
	stdout, stderr, code := s.inProcess("token", "--tenant", tenant, "--user", user, "--role", strings.Join(roles, ","))
	Expect(code).To(Equal(good), stderr)
	return strings.TrimSuffix(stdout, "\n")
}

// asSuperuser opens a superuser's connection that goes with the spec.
func (s *surface) asSuperuser() (context.Context, *pgx.Conn) {
	GinkgoHelper()
	if s.owner == "" {
		s.owner = ownerURL(s.installation)
	}
	return connect(s.owner)
}

// inProcess runs a command that needs no process of its own.
func (i *installation) inProcess(args ...string) (stdout, stderr string, code int) {
	var out, errs bytes.Buffer
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	code = cli.Run(ctx, cli.Process{Version: "test", Args: append([]string{}, args...), Environ: i.command().Environ(), Stdout: &out, Stderr: &errs})
	return out.String(), errs.String(), code
}

// faults are the lines of the log that say what is broken.
func (s *surface) faults() string {
	var faults strings.Builder
	for line := range strings.Lines(s.running.output.String()) {
		if strings.Contains(line, "level=ERROR") || strings.Contains(line, `"level":"ERROR"`) {
			faults.WriteString(line)
		}
	}
	return faults.String()
}

// ask is must, for answers that have to be as the document and the contract say.
func (s *surface) ask(method, path, token string, body any, headers ...header) reply {
	GinkgoHelper()
	r := s.must(method, path, token, body, headers...)
	s.conform(method, path, r)
	return r
}

// get reads something that has to be there.
func (s *surface) get(path, token string, headers ...header) reply {
	GinkgoHelper()
	r := s.ask(http.MethodGet, path, token, nil, headers...)
	Expect(r.status).To(Equal(http.StatusOK), r.body)
	return r
}

// register registers a provider that has to be accepted and returns its id.
func (s *surface) register(token string, body any) (string, reply) {
	GinkgoHelper()
	r := s.ask(http.MethodPost, providersPath, token, body)
	Expect(r.status).To(Equal(http.StatusCreated), r.body)
	id, _ := r.data()["id"].(string)
	Expect(id).To(MatchRegexp(uuidPattern))
	return id, r
}

// head is the position of a tenant's last event, as verification sees it.
func (s *surface) head(token string) int64 {
	GinkgoHelper()
	verified := s.get(verifyPath, token).data()
	Expect(verified).To(HaveKeyWithValue("ok", true))
	return int64(verified["head"].(map[string]any)["position"].(float64))
}

// entries lists the audit trail with a filter such as "outcome=rejected".
func (s *surface) entries(token, filter string) []map[string]any {
	GinkgoHelper()
	return s.get(auditPath+"?"+filter, token).list()
}

// conform holds an answer against the contract's "Everywhere" and against the document.
func (s *surface) conform(method, path string, r reply) {
	GinkgoHelper()
	at := fmt.Sprintf("%s %s → %d %s", method, path, r.status, r.body)
	Expect(uuid.Validate(r.header.Get("X-Correlation-ID"))).To(Succeed(), at)
	if r.status >= http.StatusInternalServerError {
		Eventually(s.faults).WithTimeout(5*time.Second).ShouldNot(BeEmpty(), at+": a fault that the log does not explain")
		Fail(at + "\n" + s.faults())
	}
	operation, template := s.operation(method, path)
	if operation == nil {
		Expect(r.status).To(BeElementOf(http.StatusNotFound, http.StatusMethodNotAllowed), at)
		conformError(at, r)
		return
	}
	described := operation.Responses.Value(strconv.Itoa(r.status))
	Expect(described).NotTo(BeNil(), "the document has no such status: "+at)
	unrecorded := r.status == http.StatusUnauthorized || r.status == http.StatusTooManyRequests || (s.flooded && r.status >= http.StatusBadRequest)
	if method != http.MethodGet && !unrecorded && strings.HasPrefix(template, "/api/") {
		Expect(r.header.Get("X-Event-Position")).To(MatchRegexp(`^\d+$`), "every write has a position: "+at)
	}
	switch r.status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		Expect(r.header.Get("Retry-After")).To(MatchRegexp(`^[1-9]\d*$`), at)
	case http.StatusUnauthorized:
		Expect(r.header.Get("WWW-Authenticate")).To(HavePrefix("Bearer"), at)
	case http.StatusNoContent:
		Expect(r.body).To(BeEmpty(), at)
		return
	}
	if r.status == http.StatusOK && described.Value.Content.Get("application/json") == nil { // a checkpoint, or a stream
		for media := range described.Value.Content {
			Expect(r.header.Get("Content-Type")).To(HavePrefix(media), at)
		}
		return
	}
	Expect(r.header.Get("Content-Type")).To(Equal("application/json"), at)
	if r.status >= http.StatusBadRequest {
		conformError(at, r)
	} else if strings.HasPrefix(template, "/api/") {
		conformSuccess(at, r)
	}
	schema := described.Value.Content.Get("application/json").Schema.Value
	var value any
	Expect(json.Unmarshal([]byte(r.body), &value)).To(Succeed(), at)
	Expect(schema.VisitJSON(value, openapi3.VisitAsResponse(), openapi3.MultiErrors())).To(Succeed(), at)
	Expect(undocumented(schema, value, "")).To(BeEmpty(), "the document does not know these fields: "+at)
}

// operation finds what the document calls a request; nil where it knows no such path or method.
func (s *surface) operation(method, path string) (found *openapi3.Operation, template string) {
	path, _, _ = strings.Cut(path, "?")
	sent := strings.Split(path, "/")
	best := -1
	for candidate, item := range s.doc.Paths.Map() {
		segments := strings.Split(candidate, "/")
		if len(segments) != len(sent) {
			continue
		}
		literal := 0
		for i, segment := range segments {
			switch {
			case segment == sent[i]:
				literal++
			case !strings.HasPrefix(segment, "{"):
				literal = -len(sent) - 1
			}
		}
		if literal > best {
			best, found, template = literal, item.GetOperation(method), candidate
		}
	}
	return found, template
}

func conformError(at string, r reply) {
	GinkgoHelper()
	var envelope map[string]map[string]any
	Expect(json.Unmarshal([]byte(r.body), &envelope)).To(Succeed(), at)
	Expect(envelope).To(And(HaveLen(1), HaveKey("error")), at)
	failure := envelope["error"]
	Expect(keys(failure)).To(ConsistOf("code", "message", "details"), at)
	Expect(failure["code"]).To(MatchRegexp(`^[a-z][a-z0-9_]*$`), at)
	Expect(failure["message"]).To(MatchRegexp(`^[A-Z].*\.$`), "a sentence for a person: "+at)
	Expect(failure["details"]).To(BeAssignableToTypeOf(map[string]any{}), at)
}

func conformSuccess(at string, r reply) {
	GinkgoHelper()
	var envelope map[string]any
	Expect(json.Unmarshal([]byte(r.body), &envelope)).To(Succeed(), at)
	Expect(keys(envelope)).To(ConsistOf("data", "meta"), at)
	meta, _ := envelope["meta"].(map[string]any)
	expected := []string{"request_id", "timestamp"}
	if _, isList := envelope["data"].([]any); isList {
		expected = append(expected, "pagination")
		page, _ := meta["pagination"].(map[string]any)
		Expect(page).To(And(HaveKeyWithValue("limit", BeNumerically(">=", 1)), HaveKey("next_cursor")), at)
		if next, more := page["next_cursor"].(string); more {
			Expect(url.QueryEscape(next)).To(Equal(next), "a cursor is URL-safe: "+at)
		} else {
			Expect(page["next_cursor"]).To(BeNil(), at)
		}
	}
	Expect(keys(meta)).To(ConsistOf(expected), at)
	Expect(meta["request_id"]).To(MatchRegexp(uuidPattern), at)
	Expect(meta["timestamp"]).To(beTime(), at)
}

// undocumented names the fields of an answer that its schema does not have, which a validator lets pass.
func undocumented(schema *openapi3.Schema, value any, path string) []string {
	var found []string
	switch value := value.(type) {
	case []any:
		for i, item := range value {
			if schema.Items != nil {
				found = append(found, undocumented(schema.Items.Value, item, fmt.Sprintf("%s[%d]", path, i))...)
			}
		}
	case map[string]any:
		open := schema.AdditionalProperties.Schema != nil || (schema.AdditionalProperties.Has != nil && *schema.AdditionalProperties.Has)
		for name, field := range value {
			property := propertyOf(schema, name)
			switch {
			case property != nil:
				found = append(found, undocumented(property, field, path+"."+name)...)
			case schema.AdditionalProperties.Schema != nil:
				found = append(found, undocumented(schema.AdditionalProperties.Schema.Value, field, path+"."+name)...)
			case !open:
				found = append(found, path+"."+name)
			}
		}
	}
	return found
}

func propertyOf(schema *openapi3.Schema, name string) *openapi3.Schema {
	if property := schema.Properties[name]; property != nil {
		return property.Value
	}
	for _, part := range schema.AllOf {
		if property := propertyOf(part.Value, name); property != nil {
			return property
		}
	}
	return nil
}

// beTime matches RFC 3339 in UTC.
func beTime() OmegaMatcher {
	return WithTransform(func(text any) bool {
		said, _ := text.(string)
		at, err := time.Parse(time.RFC3339, said)
		return err == nil && strings.HasSuffix(said, "Z") && time.Since(at).Abs() < time.Hour
	}, BeTrue())
}

func keys[V any](object map[string]V) []string {
	names := make([]string, 0, len(object))
	for name := range object {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// namesOf lists one field of all entries.
func namesOf(list []map[string]any, field string) []any {
	names := make([]any, len(list))
	for i, entry := range list {
		names[i] = entry[field]
	}
	return names
}

// failure is an answer's error.
func (r reply) failure() (code string, details map[string]any) {
	GinkgoHelper()
	var envelope struct {
		Error struct {
			Code    string         `json:"code"`
			Details map[string]any `json:"details"`
		} `json:"error"`
	}
	Expect(json.Unmarshal([]byte(r.body), &envelope)).To(Succeed(), r.body)
	return envelope.Error.Code, envelope.Error.Details
}

// pageThrough follows a list's cursors to the end; between is called after every page.
func (s *surface) pageThrough(path, token string, between func(page int)) []map[string]any {
	GinkgoHelper()
	var all []map[string]any
	cursor := ""
	for page := 1; ; page++ {
		Expect(page).To(BeNumerically("<", 100), "the list has no end")
		r := s.get(path+cursor, token)
		all = append(all, r.list()...)
		if r.nextCursor() == "" {
			return all
		}
		cursor = "&cursor=" + r.nextCursor()
		between(page)
	}
}

// upstreamOf starts a model provider of a type that goes with the spec.
func upstreamOf(kind gateway.ProviderType, options gatewaytest.Options) *gatewaytest.Server {
	server := gatewaytest.New(kind, options)
	DeferCleanup(server.Close)
	return server
}

// openAI is a body of POST /providers with the fields that can't be left out.
func openAI(name, baseURL, key string) map[string]any {
	return map[string]any{"name": name, "type": "openai", "base_url": baseURL, "api_key": key}
}

// filesHolding names the files of an installation, its database cluster's included, that hold a text.
func filesHolding(s *surface, text string) []string {
	GinkgoHelper()
	roots := []string{s.dir}
	ctx, conn := s.asSuperuser()
	roots = append(roots, one[string](ctx, conn, "show data_directory"))
	_, err := conn.Exec(ctx, "checkpoint")
	Expect(err).NotTo(HaveOccurred())
	var found []string
	for _, root := range roots {
		Expect(filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return nil //nolint:nilerr // files come and go while the server runs
			}
			content, err := os.ReadFile(path)
			if err == nil && strings.Contains(string(content), text) {
				found = append(found, path)
			}
			return nil
		})).To(Succeed())
	}
	return found
}

// sorted is a sorted copy of texts.
func sorted(texts []any) []any {
	copied := slices.Clone(texts)
	slices.SortFunc(copied, compareText)
	return copied
}
