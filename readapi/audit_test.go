package readapi_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/audit"
	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/httpx"
)

var _ = Describe("the audit trail", Label("postgres"), func() {
	var f *fixture
	BeforeEach(func(ctx context.Context) { f = newFixture(ctx) })

	page := func(ctx context.Context, of string, params api.ListAuditParams) (api.ListAudit200JSONResponse, error) {
		response, err := f.audit.ListAudit(as(ctx, of), api.ListAuditRequestObject{Params: params})
		found, _ := response.(api.ListAudit200JSONResponse)
		return found, err //nolint:wrapcheck // a test
	}
	positions := func(entries []api.AuditEntry) []int64 {
		all := []int64{}
		for _, entry := range entries {
			all = append(all, entry.Position)
		}
		return all
	}
	find := func(ctx context.Context, params api.ListAuditParams) []int64 {
		GinkgoHelper()
		found, err := page(ctx, tenant, params)
		Expect(err).NotTo(HaveOccurred())
		return positions(found.Data)
	}

	It("shows an entry with everything, the newest first", func(ctx context.Context) {
		id := f.register(ctx, tenant, "Main")
		meta := did("POST", "/api/v1/router/providers/{id}/test", 409)
		meta.Client, meta.CausationID = json.RawMessage(`"sealed"`), "e-7"
		f.append(ctx, tenant, audit.Stream(tenant), meta, audit.WriteRefused{ResourceType: "provider", ResourceID: id, Code: "conflict", Message: "No."})
		f.project(ctx, tenant)
		found, err := page(ctx, tenant, api.ListAuditParams{})
		Expect(err).NotTo(HaveOccurred())
		Expect(positions(found.Data)).To(Equal([]int64{2, 1}))
		events, err := f.store.At(ctx, tenant, []int64{2})
		Expect(err).NotTo(HaveOccurred())
		event := events[0]
		Expect(found.Data[0]).To(Equal(api.AuditEntry{
			Position: 2, EventID: event.EventID.String(), OccurredAt: event.Time(), Actor: "ada", Action: "POST /api/v1/router/providers/{id}/test",
			ResourceType: new("provider"), ResourceID: &id, Outcome: "rejected", StatusCode: new(409), IPAddress: new("203.0.113.7"),
			UserAgent: new("curl/8"), CorrelationID: new("c-1"), CausationID: new("e-7"), Hash: hex.EncodeToString(event.Hash),
			PrevHash: hex.EncodeToString(event.PrevHash), Data: event.Data,
		}))
		Expect(found.Data[1]).To(And(HaveField("Outcome", api.AuditOutcome("succeeded")), HaveField("IPAddress", BeNil()), HaveField("CausationID", BeNil()), HaveField("PrevHash", Not(BeEmpty()))))
	})

	It("shows no address of somebody who was erased, and fails where the keys are away", func(ctx context.Context) {
		meta := did("DELETE", "/x", 204)
		meta.Client = json.RawMessage(`"erased"`)
		f.append(ctx, tenant, audit.Stream(tenant), meta, audit.WriteRefused{})
		f.project(ctx, tenant)
		found, err := page(ctx, tenant, api.ListAuditParams{})
		Expect(err).NotTo(HaveOccurred())
		Expect(found.Data).To(HaveExactElements(And(HaveField("Actor", "ada"), HaveField("IPAddress", BeNil()), HaveField("UserAgent", BeNil()))))
		meta.Client = json.RawMessage(`"away"`)
		f.append(ctx, tenant, audit.Stream(tenant), meta, audit.WriteRefused{})
		f.project(ctx, tenant)
		_, err = page(ctx, tenant, api.ListAuditParams{})
		Expect(err).To(MatchError(errClients))
	})

	It("filters", func(ctx context.Context) {
		first := f.register(ctx, tenant, "100% under_score")        // 1
		second := f.register(ctx, tenant, `100x underXscore \back`) // 2
		meta := domain.Meta{Actor: domain.Actor{ID: "bob", Type: domain.User}, Method: "PUT", Path: "/p", Status: 412, CorrelationID: "c-2"}
		f.append(ctx, tenant, audit.Stream(tenant), meta, audit.WriteRefused{ResourceType: "provider", ResourceID: second}) // 3
		f.probe(ctx, tenant, first, true, 0)                                                                                // 4
		f.register(ctx, other, "100% foreign")
		f.project(ctx, tenant)
		f.project(ctx, other)
		at := func(position int64) time.Time {
			events, err := f.store.At(ctx, tenant, []int64{position})
			Expect(err).NotTo(HaveOccurred())
			return events[0].Time()
		}
		rejected, succeeded := api.AuditOutcome("rejected"), api.AuditOutcome("succeeded")
		for name, c := range map[string]struct {
			params api.ListAuditParams
			want   []int64
		}{
			"nothing":                {api.ListAuditParams{}, []int64{3, 2, 1}},
			"telemetry":              {api.ListAuditParams{Telemetry: new(true)}, []int64{4, 3, 2, 1}},
			"no telemetry":           {api.ListAuditParams{Telemetry: new(false)}, []int64{3, 2, 1}},
			"actor":                  {api.ListAuditParams{Actor: new("bob")}, []int64{3}},
			"unknown actor":          {api.ListAuditParams{Actor: new("Bob")}, []int64{}},
			"action":                 {api.ListAuditParams{Action: new("PUT /p")}, []int64{3}},
			"event type":             {api.ListAuditParams{Action: new("provider.registered.v1")}, []int64{2, 1}},
			"resource type":          {api.ListAuditParams{ResourceType: new("provider")}, []int64{3, 2, 1}},
			"resource":               {api.ListAuditParams{ResourceID: &second}, []int64{3, 2}},
			"correlation":            {api.ListAuditParams{CorrelationID: new("c-2")}, []int64{3}},
			"rejected":               {api.ListAuditParams{Outcome: &rejected}, []int64{3}},
			"succeeded":              {api.ListAuditParams{Outcome: &succeeded}, []int64{2, 1}},
			"from":                   {api.ListAuditParams{From: new(at(3))}, []int64{3}},
			"to":                     {api.ListAuditParams{To: new(at(2))}, []int64{1}},
			"range":                  {api.ListAuditParams{From: new(at(2)), To: new(at(3))}, []int64{2}},
			"q per cent":             {api.ListAuditParams{Q: new("100%")}, []int64{1}},
			"q underscore":           {api.ListAuditParams{Q: new("under_score")}, []int64{1}},
			"q backslash":            {api.ListAuditParams{Q: new(`\back`)}, []int64{2}},
			"q backslash per cent":   {api.ListAuditParams{Q: new(`\%`)}, []int64{}},
			"q in another case":      {api.ListAuditParams{Q: new("UNDERxSCORE")}, []int64{2}},
			"q quote":                {api.ListAuditParams{Q: new(`' or true --`)}, []int64{}},
			"q empty":                {api.ListAuditParams{Q: new("")}, []int64{3, 2, 1}},
			"everything at once":     {api.ListAuditParams{Actor: new("bob"), Action: new("PUT /p"), ResourceType: new("provider"), ResourceID: &second, CorrelationID: new("c-2"), Outcome: &rejected, From: new(at(3)), Q: new("bob"), Telemetry: new(true), Limit: new(1)}, []int64{3}},
			"that contradict":        {api.ListAuditParams{Actor: new("ada"), Outcome: &rejected}, []int64{}},
			"telemetry of its actor": {api.ListAuditParams{Actor: new("prober"), Telemetry: new(true)}, []int64{4}},
		} {
			Expect(find(ctx, c.params)).To(Equal(c.want), name)
		}
	})

	It("pages without gap or repetition while entries arrive", func(ctx context.Context) {
		for i := range 25 {
			f.register(ctx, tenant, fmt.Sprint("p", i))
		}
		f.project(ctx, tenant)
		var seen []int64
		var cursor *string
		for {
			found, err := page(ctx, tenant, api.ListAuditParams{Limit: new(4), Cursor: cursor})
			Expect(err).NotTo(HaveOccurred())
			seen = append(seen, positions(found.Data)...)
			f.register(ctx, tenant, "another")
			f.project(ctx, tenant)
			if cursor = found.Meta.Pagination.NextCursor; cursor == nil {
				break
			}
		}
		want := []int64{}
		for position := int64(25); position > 0; position-- {
			want = append(want, position)
		}
		Expect(seen).To(Equal(want))
		foreign, err := httpx.EncodeCursor("providers", map[string]string{"n": "x"})
		Expect(err).NotTo(HaveOccurred())
		_, err = page(ctx, tenant, api.ListAuditParams{Cursor: &foreign})
		Expect(err).To(MatchError(ContainSubstring("cursor")))
	})

	It("still lists entries whose bytes were tampered with", func(ctx context.Context) {
		for _, name := range []string{"one", "two", "three", "four"} {
			f.register(ctx, tenant, name)
		}
		f.project(ctx, tenant)
		conn, err := f.owner.Acquire(ctx)
		Expect(err).NotTo(HaveOccurred())
		defer conn.Release()
		for _, sql := range []string{
			`set session_replication_role = replica`,
			`update events set meta = '\x00ff'::bytea where position = 1`,
			`update events set data = convert_to('no "json"', 'utf8') where position = 2`,
			`delete from events where position = 3`,
			`update events set data = '\xff'::bytea, meta = convert_to('[]', 'utf8') where position = 4`,
		} {
			_, err := conn.Exec(ctx, sql)
			Expect(err).NotTo(HaveOccurred())
		}
		found, err := page(ctx, tenant, api.ListAuditParams{})
		Expect(err).NotTo(HaveOccurred())
		Expect(positions(found.Data)).To(Equal([]int64{4, 2, 1}), "what is gone can't be shown")
		for _, entry := range found.Data {
			Expect(json.Valid(entry.Data)).To(BeTrue())
			Expect(entry.Action).To(Equal("POST /api/v1/router/providers"), "the index remembers")
		}
		Expect(string(found.Data[1].Data)).To(Equal(`"no \"json\""`))
		_, err = json.Marshal(found)
		Expect(err).NotTo(HaveOccurred())

		verified, err := f.audit.VerifyAudit(as(ctx, tenant), api.VerifyAuditRequestObject{})
		Expect(err).NotTo(HaveOccurred())
		Expect(verified.(api.VerifyAudit200JSONResponse).Data).To(And(
			HaveField("OK", false), HaveField("FirstBadPosition", HaveValue(Equal(int64(1)))), HaveField("Reason", Not(BeNil()))))
	})

	It("keeps tenants apart", func(ctx context.Context) {
		f.register(ctx, tenant, "ours")
		f.project(ctx, tenant)
		found, err := page(ctx, other, api.ListAuditParams{Telemetry: new(true)})
		Expect(err).NotTo(HaveOccurred())
		Expect(found.Data).To(BeEmpty())
		Expect(found.Data).NotTo(BeNil())
	})

	It("verifies, in whole and in part", func(ctx context.Context) {
		for name := range strings.FieldsSeq("a b c") {
			f.register(ctx, tenant, name)
		}
		verify := func(params api.VerifyAuditParams) (api.AuditVerification, error) {
			response, err := f.audit.VerifyAudit(as(ctx, tenant), api.VerifyAuditRequestObject{Params: params})
			found, _ := response.(api.VerifyAudit200JSONResponse)
			return found.Data, err //nolint:wrapcheck // a test
		}
		report, err := verify(api.VerifyAuditParams{})
		Expect(err).NotTo(HaveOccurred())
		Expect(report).To(And(HaveField("OK", true), HaveField("Checked", int64(3)), HaveField("FirstBadPosition", BeNil()), HaveField("Reason", BeNil()), HaveField("Head.Position", int64(3)), HaveField("Head.Hash", HaveLen(64))))
		report, err = verify(api.VerifyAuditParams{From: new(int64(2)), To: new(int64(2))})
		Expect(err).NotTo(HaveOccurred())
		Expect(report.Checked).To(Equal(int64(1)))
		_, err = verify(api.VerifyAuditParams{From: new(int64(3)), To: new(int64(2))})
		Expect(err).To(MatchError(ContainSubstring("invalid_parameter")))

		f.audit.Log = verifying{f.store}
		_, err = verify(api.VerifyAuditParams{})
		Expect(err).To(MatchError(ContainSubstring("verification_running")))
	})

	It("does not take the names of a provider for the data of health", func(ctx context.Context) {
		id := f.register(ctx, tenant, "Main")
		f.probe(ctx, tenant, id, true, 0)
		f.project(ctx, tenant)
		Expect(find(ctx, api.ListAuditParams{ResourceID: &id, Telemetry: new(true)})).To(Equal([]int64{2, 1}))
		Expect(find(ctx, api.ListAuditParams{ResourceType: new("providerhealth"), Telemetry: new(true)})).To(Equal([]int64{2}))
		Expect(providers.HealthStream(id)).To(HavePrefix("providerhealth-"))
	})
})

// verifying is a log that is being verified by somebody else.
type verifying struct{ *eventstore.Store }

func (verifying) Verify(context.Context, string, eventstore.VerifyOptions) (eventstore.Report, error) {
	return eventstore.Report{}, eventstore.ErrVerifying
}
