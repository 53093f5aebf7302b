package httpx_test

import (
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/internal/httpx"
)

func document() *openapi3.T {
	GinkgoHelper()
	doc, err := openapi3.NewLoader().LoadFromData(api.Document())
	Expect(err).NotTo(HaveOccurred())
	return doc
}

// eachOperation visits the operations below /api.
func eachOperation(visit func(method, path string, o *openapi3.Operation)) {
	for path, item := range document().Paths.Map() {
		if !strings.HasPrefix(path, "/api/") {
			continue
		}
		for method, o := range item.Operations() {
			visit(method, path, o)
		}
	}
}

func headerNames(parameters openapi3.Parameters) []string {
	var names []string
	for _, p := range parameters {
		if p.Value.In == openapi3.ParameterInHeader {
			names = append(names, p.Value.Name)
		}
	}
	return names
}

var _ = Describe("the OpenAPI document", func() {
	It("is valid, with examples that fit their schemas", func(ctx SpecContext) {
		Expect(document().Validate(ctx, openapi3.EnableExamplesValidation())).To(Succeed())
		Expect(document().OpenAPI).To(Equal("3.0.3"))
	})

	It("says of every operation who may do it and how it can fail", func() {
		count := 0
		eachOperation(func(method, path string, o *openapi3.Operation) {
			count++
			at := method + " " + path
			Expect(o.Extensions["x-archon-role"]).To(BeElementOf("any", "viewer", "operator", "admin", "audit"), at)
			Expect(o.Summary).NotTo(BeEmpty(), at)
			want := []string{"400", "401", "403", "406", "500", "503"}
			header := []string{"X-Correlation-ID"}
			if method == http.MethodGet {
				header = append(header, "X-Min-Position")
			} else {
				want = append(want, "413", "422", "429", "504")
				header = append(header, "Idempotency-Key", "Prefer")
			}
			if o.RequestBody != nil {
				want = append(want, "415")
				Expect(o.RequestBody.Value.Content["application/json"].Schema.Value.AdditionalProperties.Has).To(HaveValue(BeFalse()), at)
			}
			if strings.Contains(path, "{") {
				want = append(want, "404")
			}
			for _, status := range want {
				Expect(o.Responses.Value(status)).NotTo(BeNil(), at+" "+status)
			}
			Expect(headerNames(o.Parameters)).To(ContainElements(header), at)
			for status, response := range o.Responses.Map() {
				Expect(response.Value.Headers).To(HaveKey("X-Correlation-ID"), at+" "+status)
				if status == "429" || status == "503" || status == "504" {
					Expect(response.Value.Headers).To(HaveKey("Retry-After"), at+" "+status)
				}
			}
		})
		Expect(count).To(Equal(64))
	})

	It("gives every list a limit, a cursor and a page in meta", func() {
		lists := 0
		eachOperation(func(method, path string, o *openapi3.Operation) {
			success := o.Responses.Value("200")
			if success == nil || success.Value.Content["application/json"] == nil || !success.Value.Content["application/json"].Schema.Value.Properties["data"].Value.Type.Is("array") {
				return
			}
			lists++
			Expect(o.Parameters.GetByInAndName("query", "limit")).NotTo(BeNil(), path)
			Expect(o.Parameters.GetByInAndName("query", "cursor")).NotTo(BeNil(), path)
			meta := success.Value.Content["application/json"].Schema.Value.Properties["meta"].Value
			Expect(meta.Required).To(ContainElement("pagination"), path)
		})
		Expect(lists).To(Equal(13))
	})

	It("has If-Match on the writes of one resource and as_of where the contract marks it", func() {
		var matched, timed []string
		eachOperation(func(_, _ string, o *openapi3.Operation) {
			if slices.Contains(headerNames(o.Parameters), "If-Match") {
				matched = append(matched, o.OperationID)
			}
			if o.Parameters.GetByInAndName("query", "as_of") != nil {
				timed = append(timed, o.OperationID)
			}
		})
		Expect(matched).To(ConsistOf("changeProvider", "removeProvider", "replaceCredentials", "revokeKey", "replaceRoutingRules", "replaceFallback",
			"renameDepartment", "replaceCostSettings", "putDepartmentBudget", "deleteDepartmentBudget", "putBudget", "deleteBudget"))
		Expect(timed).To(ConsistOf("listProviders", "getProvider", "getRoutingRules", "getFallback", "getCostDashboard",
			"listDepartments", "getDepartment", "getCostSettings", "listBudgets", "getDepartmentBudget", "getBudget", "getStreamState"))
	})

	It("is matched by an Answer for every write", func() {
		answer := reflect.TypeFor[httpx.Answer]()
		eachOperation(func(method, path string, o *openapi3.Operation) {
			if method == http.MethodGet {
				return
			}
			_, found := answer.MethodByName("Visit" + strings.ToUpper(o.OperationID[:1]) + o.OperationID[1:] + "Response")
			Expect(found).To(BeTrue(), "httpx.Answer has no method for "+o.OperationID+"; add it to answer_writes.go")
		})
	})
})
