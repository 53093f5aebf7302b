package readapi_test

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/audit"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/httpx"
)

// brittle is a log that fails after so many reads.
type brittle struct {
	*eventstore.Store
	left int
}

func (b *brittle) At(ctx context.Context, tenant string, positions []int64) ([]eventstore.Recorded, error) {
	if b.left--; b.left < 0 {
		return nil, errClients
	}
	return b.Store.At(ctx, tenant, positions) //nolint:wrapcheck // a test
}

var _ = Describe("the audit trail as a file", Label("postgres"), func() {
	var f *fixture
	BeforeEach(func(ctx context.Context) { f = newFixture(ctx) })

	csvFormat, ndjsonFormat := api.ListAuditParamsFormatCsv, api.ListAuditParamsFormatNdjson
	// get serves the download over HTTP.
	get := func(ctx context.Context, params api.ListAuditParams) (*http.Response, string, error) {
		GinkgoHelper()
		var failed error
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			response, err := f.audit.ListAudit(as(r.Context(), tenant), api.ListAuditRequestObject{Params: params})
			if err == nil {
				err = response.VisitListAuditResponse(w)
			}
			failed = err
		}))
		defer server.Close()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, http.NoBody)
		Expect(err).NotTo(HaveOccurred())
		response, err := http.DefaultClient.Do(request)
		Expect(err).NotTo(HaveOccurred())
		body, err := io.ReadAll(response.Body)
		Expect(response.Body.Close()).To(Succeed())
		if err == nil {
			err = failed
		}
		return response, string(body), err
	}

	It("has all entries of the filter, in the list's order, however many", func(ctx context.Context) {
		for i := range 450 {
			f.append(ctx, tenant, audit.Stream(tenant), did("PUT", "/x", 409), audit.WriteRefused{Code: fmt.Sprint("c", i)})
		}
		f.probe(ctx, tenant, f.register(ctx, tenant, "Main"), true, 0)
		f.project(ctx, tenant)
		var want []int64
		for position := int64(451); position > 0; position-- {
			want = append(want, position)
		}
		response, body, err := get(ctx, api.ListAuditParams{Format: &csvFormat})
		Expect(err).NotTo(HaveOccurred())
		Expect(response.Header.Get("Content-Type")).To(Equal("text/csv; charset=utf-8"))
		Expect(response.Header.Get("Content-Disposition")).To(Equal("attachment; filename=audit-acme.csv"))
		rows, err := csv.NewReader(strings.NewReader(body)).ReadAll()
		Expect(err).NotTo(HaveOccurred())
		Expect(rows[0]).To(HaveExactElements("position", "event_id", "occurred_at", "actor", "action", "resource_type", "resource_id", "outcome", "status_code",
			"ip_address", "user_agent", "correlation_id", "causation_id", "hash", "prev_hash", "data"))
		var got []int64
		for _, row := range rows[1:] {
			position, err := strconv.ParseInt(row[0], 10, 64)
			Expect(err).NotTo(HaveOccurred())
			got = append(got, position)
		}
		Expect(got).To(Equal(want))

		response, body, err = get(ctx, api.ListAuditParams{Format: &ndjsonFormat, Q: new("c44")})
		Expect(err).NotTo(HaveOccurred())
		Expect(response.Header.Get("Content-Type")).To(Equal("application/x-ndjson; charset=utf-8"))
		listed, err := f.audit.ListAudit(as(ctx, tenant), api.ListAuditRequestObject{Params: api.ListAuditParams{Q: new("c44")}})
		Expect(err).NotTo(HaveOccurred())
		lines := bufio.NewScanner(strings.NewReader(body))
		for _, entry := range listed.(api.ListAudit200JSONResponse).Data {
			Expect(lines.Scan()).To(BeTrue())
			encoded, err := json.Marshal(entry)
			Expect(err).NotTo(HaveOccurred())
			Expect(lines.Text()).To(Equal(string(encoded)))
		}
		Expect(lines.Scan()).To(BeFalse())
	})

	It("has no cell that a spreadsheet would run", func(ctx context.Context) {
		for _, actor := range []string{"=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", `a"b,c`, "ada"} {
			meta := domain.Meta{Actor: domain.Actor{ID: actor, Type: domain.User}}
			f.append(ctx, tenant, audit.Stream(tenant), meta, audit.WriteRefused{Code: "c"})
		}
		f.project(ctx, tenant)
		_, body, err := get(ctx, api.ListAuditParams{Format: &csvFormat})
		Expect(err).NotTo(HaveOccurred())
		rows, err := csv.NewReader(strings.NewReader(body)).ReadAll()
		Expect(err).NotTo(HaveOccurred())
		actors := []string{}
		for _, row := range rows[1:] {
			for _, cell := range row {
				Expect(cell).NotTo(MatchRegexp(`^[=+\-@\t\r\n]`))
			}
			actors = append(actors, row[3])
		}
		Expect(actors[:2]).To(Equal([]string{"ada", `a"b,c`}), "what is harmless is as it is")
		Expect(actors[8]).To(Equal("'=1+1"))
	})

	It("is empty but for its header where nothing fits", func(ctx context.Context) {
		_, body, err := get(ctx, api.ListAuditParams{Format: &csvFormat})
		Expect(err).NotTo(HaveOccurred())
		Expect(body).To(HavePrefix("position,event_id,"))
		Expect(strings.Count(body, "\n")).To(Equal(1))
		_, body, err = get(ctx, api.ListAuditParams{Format: &ndjsonFormat})
		Expect(err).NotTo(HaveOccurred())
		Expect(body).To(BeEmpty())
	})

	It("breaks off where it can't go on, and answers as usual where it can't begin", func(ctx context.Context) {
		for range 450 {
			f.append(ctx, tenant, audit.Stream(tenant), did("PUT", "/x", 409), audit.WriteRefused{Code: "c"})
		}
		f.project(ctx, tenant)
		f.audit.Log = &brittle{f.store, 2}
		response, _, err := get(ctx, api.ListAuditParams{Format: &csvFormat})
		Expect(response.StatusCode).To(Equal(http.StatusOK))
		Expect(err).To(MatchError(io.ErrUnexpectedEOF), "the client sees that it is not whole")
		f.audit.Log = &brittle{f.store, 0}
		recorder := httptest.NewRecorder()
		answer, err := f.audit.ListAudit(as(ctx, tenant), api.ListAuditRequestObject{Params: api.ListAuditParams{Format: &csvFormat}})
		Expect(err).NotTo(HaveOccurred())
		Expect(answer.VisitListAuditResponse(recorder)).To(MatchError(errClients))
		Expect(recorder.Body.Len()).To(BeZero(), "the error can still be answered")
	})

	It("is what Accept asks for, unless the parameter says otherwise, and has no pages", func(ctx context.Context) {
		for accepted, params := range map[string]api.ListAuditParams{"text/csv": {}, "application/x-ndjson": {}} {
			request := httpx.From(as(ctx, tenant))
			request.MediaType = accepted
			answer, err := f.audit.ListAudit(httpx.With(ctx, request), api.ListAuditRequestObject{Params: params})
			Expect(err).NotTo(HaveOccurred())
			recorder := httptest.NewRecorder()
			Expect(answer.VisitListAuditResponse(recorder)).To(Succeed())
			Expect(recorder.Header().Get("Content-Type")).To(HavePrefix(accepted))
			page := api.ListAuditParamsFormatJSON
			answer, err = f.audit.ListAudit(httpx.With(ctx, request), api.ListAuditRequestObject{Params: api.ListAuditParams{Format: &page}})
			Expect(err).NotTo(HaveOccurred())
			Expect(answer).To(BeAssignableToTypeOf(api.ListAudit200JSONResponse{}))
		}
		for _, params := range []api.ListAuditParams{{Format: &csvFormat, Limit: new(5)}, {Format: &ndjsonFormat, Cursor: new("x")}} {
			_, err := f.audit.ListAudit(as(ctx, tenant), api.ListAuditRequestObject{Params: params})
			Expect(err).To(MatchError(ContainSubstring("invalid_parameter")))
		}
	})
})
