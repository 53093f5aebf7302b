package readapi_test

import (
	"context"
	"errors"
	"slices"

	"github.com/getkin/kin-openapi/openapi3"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/readapi"
)

// overview is a tenant with some jobs.
type overview struct {
	jobs   int64
	failed error
}

func (o overview) Projections(_ context.Context, of string) ([]api.Projection, error) {
	return []api.Projection{{Name: "providers of " + of}}, o.failed
}

// Jobs gives out numbers downwards as ids.
func (o overview) Jobs(_ context.Context, _ string, _ *api.JobStatus, before int64, limit int) (jobs []api.Job, next int64, err error) {
	if before == 0 {
		before = o.jobs + 1
	}
	for id := before - 1; id > 0; id-- {
		if len(jobs) == limit {
			return jobs, id + 1, o.failed
		}
		jobs = append(jobs, api.Job{Attempts: int(id)})
	}
	return jobs, 0, o.failed
}

var _ = Describe("operations", func() {
	It("lists projections and pages over jobs", func(ctx context.Context) {
		operations := &readapi.Operations{Overview: overview{jobs: 7}}
		projections, err := operations.ListProjections(as(ctx, tenant), api.ListProjectionsRequestObject{})
		Expect(err).NotTo(HaveOccurred())
		Expect(projections.(api.ListProjections200JSONResponse).Data).To(HaveExactElements(HaveField("Name", "providers of acme")))
		var seen []int
		var cursor *string
		for {
			response, err := operations.ListJobs(as(ctx, tenant), api.ListJobsRequestObject{Params: api.ListJobsParams{Limit: new(3), Cursor: cursor}})
			Expect(err).NotTo(HaveOccurred())
			page := response.(api.ListJobs200JSONResponse)
			for _, job := range page.Data {
				seen = append(seen, job.Attempts)
			}
			if cursor = page.Meta.Pagination.NextCursor; cursor == nil {
				break
			}
		}
		Expect(seen).To(Equal([]int{7, 6, 5, 4, 3, 2, 1}))
	})

	It("passes faults on and refuses foreign cursors", func(ctx context.Context) {
		fault := errors.New("away")
		operations := &readapi.Operations{Overview: overview{failed: fault}}
		_, err := operations.ListProjections(as(ctx, tenant), api.ListProjectionsRequestObject{})
		Expect(err).To(MatchError(fault))
		_, err = operations.ListJobs(as(ctx, tenant), api.ListJobsRequestObject{})
		Expect(err).To(MatchError(fault))
		_, err = operations.ListProjections(as(ctx, tenant), api.ListProjectionsRequestObject{Params: api.ListProjectionsParams{Cursor: new("x")}})
		Expect(err).To(MatchError(ContainSubstring("cursor")))
		_, err = operations.ListJobs(as(ctx, tenant), api.ListJobsRequestObject{Params: api.ListJobsParams{Cursor: new("x")}})
		Expect(err).To(MatchError(ContainSubstring("cursor")))
	})

	It("knows of every GET of the document which projections it reads", func() {
		document, err := openapi3.NewLoader().LoadFromData(api.Document())
		Expect(err).NotTo(HaveOccurred())
		// What reads no projected table: the log itself, the program's own state, the token, constants.
		none := []string{
			"getMe", "getCredentialSchemas", "verifyAudit", "getAuditCheckpoint", "getAuditKey", "proveAuditEntry", "proveAuditConsistency", "exportAudit",
			"listProjections", "listJobs", "getHealth", "getLiveness", "getMetrics", "getOpenAPI", "getDocs",
			"listModels", "getModel", "getCostSettings", "getRepricing", "listEvents", "getStream", "getStreamState", "diffStream", "subscribe",
		}
		seen := 0
		for path, item := range document.Paths.Map() {
			if item.Get == nil {
				continue
			}
			seen++
			tables := readapi.TablesOf(item.Get.OperationID)
			if slices.Contains(none, item.Get.OperationID) {
				Expect(tables).To(BeEmpty(), path)
			} else {
				Expect(tables).NotTo(BeEmpty(), path)
			}
			for _, table := range tables {
				Expect(table).To(BeElementOf("providers", "keys", "prices", "routing", "alerts", "breakers", "audit_index", "ledger", "departments", "budgets"), path)
			}
		}
		Expect(seen).To(BeNumerically(">=", len(none)+6))
		Expect(readapi.TablesOf("registerProvider")).To(BeEmpty())
	})
})
