package projections_test

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain/audit"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/projections"
)

const auditedID = "0190a1b2-0000-7000-8000-000000000001"

// auditRow is a row of audit_index.
type auditRow struct {
	Position                   int64
	Actor, ActorType           string
	Action, EventType, Stream  string
	ResourceType, ResourceID   *string
	CorrelationID, CausationID *string
	Outcome                    string
	StatusCode                 *int
	Telemetry                  bool
	Search                     string
}

var _ = Describe("the audit index", Label("postgres"), func() {
	var b *bench
	BeforeEach(func(ctx context.Context) { b = newBench(ctx) })

	// indexed appends one event, projects it and reads its row.
	indexed := func(ctx context.Context, eventType, stream string, meta, data []byte) auditRow {
		GinkgoHelper()
		codec, err := eventstore.NewCodec(eventstore.Define[counted](), eventstore.Define[audit.WriteRefused]())
		Expect(err).NotTo(HaveOccurred())
		runner := b.runner(codec, projections.Config{}, projections.AuditIndex{})
		result, err := b.store.Append(ctx, eventstore.Append{
			Tenant: "acme", Events: []eventstore.NewEvent{{Stream: stream, Type: eventType, Data: data}}, Meta: meta,
		})
		Expect(err).NotTo(HaveOccurred())
		Expect(runner.Wait(ctx, "acme", result.Last, projections.AuditIndexName)).To(Succeed())
		rows, err := b.owner.Query(ctx, `select position, actor, actor_type, action, event_type, stream, resource_type, resource_id,
			correlation_id, causation_id, outcome, status_code, telemetry, search from audit_index where position = $1`, result.Last)
		Expect(err).NotTo(HaveOccurred())
		found, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[auditRow])
		Expect(err).NotTo(HaveOccurred())
		return found
	}
	text := func(s string) *string { return &s }
	number := func(n int) *int { return &n }

	It("indexes what a request did", func(ctx context.Context) {
		row := indexed(ctx, counted{}.EventType(), "account-"+auditedID,
			[]byte(`{"actor":{"id":"Ada","type":"user"},"method":"POST","path":"/api/v1/accounts/{id}","status":201,"correlation_id":"c-1","causation_id":"e-1","roles":["admin"]}`),
			[]byte(`{"account":"Müller \"& Söhne\"","n":7,"nested":{"list":["Eins", "Zwei"]}}`))
		Expect(row).To(Equal(auditRow{
			Position: 1, Actor: "Ada", ActorType: "user", Action: "POST /api/v1/accounts/{id}", EventType: "test.counted.v1",
			Stream: "account-" + auditedID, ResourceType: text("account"), ResourceID: text(auditedID),
			CorrelationID: text("c-1"), CausationID: text("e-1"), Outcome: "succeeded", StatusCode: number(201),
			Search: `test.counted.v1 post /api/v1/accounts/{id} account-` + auditedID + ` ada müller "& söhne" eins zwei`,
		}))
		var id, event string
		var at, created, occurred time.Time
		Expect(b.owner.QueryRow(ctx, `select a.event_id::text, e.event_id::text, a.occurred_at, a.created_at, e.occurred_at
			from audit_index a join events e using (tenant_id, position)`).Scan(&id, &event, &at, &created, &occurred)).To(Succeed())
		Expect(id).To(Equal(event))
		Expect([]time.Time{at, created}).To(HaveEach(BeTemporally("==", occurred)))
	})

	It("indexes what no request caused under the event's name", func(ctx context.Context) {
		row := indexed(ctx, counted{}.EventType(), "ruleset", []byte(`{"actor":{"id":"prober","type":"system"}}`), []byte(`{}`))
		Expect(row).To(Equal(auditRow{
			Position: 1, Actor: "prober", ActorType: "system", Action: "test.counted.v1", EventType: "test.counted.v1", Stream: "ruleset",
			ResourceType: text("ruleset"), Outcome: "succeeded", Search: "test.counted.v1 test.counted.v1 ruleset prober",
		}))
	})

	It("indexes a refused write under what it was about", func(ctx context.Context) {
		data, err := json.Marshal(audit.WriteRefused{ResourceType: "provider", ResourceID: auditedID, Code: "name_taken", Message: "Taken."})
		Expect(err).NotTo(HaveOccurred())
		row := indexed(ctx, audit.WriteRefused{}.EventType(), audit.Stream("acme"),
			[]byte(`{"actor":{"id":"ada","type":"user"},"method":"POST","path":"/p","status":409}`), data)
		Expect(row.Outcome).To(Equal("rejected"))
		Expect(row.StatusCode).To(Equal(number(409)))
		Expect([]*string{row.ResourceType, row.ResourceID}).To(Equal([]*string{text("provider"), text(auditedID)}))
		Expect(row.Search).To(ContainSubstring("name_taken"))
	})

	It("marks telemetry and does not search its data", func(ctx context.Context) {
		row := indexed(ctx, counted{}.EventType(), "providerhealth-"+auditedID, []byte(`{"actor":{"id":"prober","type":"system"}}`), []byte(`{"account":"needle"}`))
		Expect(row.Telemetry).To(BeTrue())
		Expect(row.Search).NotTo(ContainSubstring("needle"))
		Expect(row.ResourceID).To(Equal(text(auditedID)))
	})

	DescribeTable("is stopped by nothing that can stand in an event",
		func(ctx context.Context, meta, data string, check func(auditRow)) {
			check(indexed(ctx, counted{}.EventType(), "account-"+auditedID, []byte(meta), []byte(data)))
		},
		Entry("NUL", `{"actor":{"id":"a\u0000b","type":"\u0000"},"method":"\u0000","path":"\u0000","correlation_id":"\u0000"}`, `{"account":"x\u0000y"}`, func(r auditRow) {
			Expect(r.Actor).To(Equal("a\uFFFDb"))
			Expect(r.Search).To(ContainSubstring("x\uFFFDy"))
		}),
		Entry("invalid UTF-8", "{\"actor\":{\"id\":\"a\xff\"}}", "{\"account\":\"x\xc3\x28y\"}", func(r auditRow) {
			Expect(r.Actor).To(Equal("a\uFFFD"))
			Expect(r.Search).To(ContainSubstring("x\uFFFD(y"))
		}),
		Entry("half a surrogate pair", `{"actor":{"id":"\ud800"}}`, `{"account":"\ud800"}`, func(r auditRow) {
			Expect(r.Actor).To(Equal("\uFFFD"))
		}),
		Entry("no JSON at all", `nonsense`, "\x00\x01 \"quoted\x00", func(r auditRow) {
			Expect(r.Actor).To(BeEmpty())
			Expect(r.Action).To(Equal("test.counted.v1"))
		}),
		Entry("JSON of other types", `{"actor":7,"status":"x"}`, `[1,"one",{"two":"2"},null]`, func(r auditRow) {
			Expect(r.StatusCode).To(BeNil())
			Expect(r.Search).To(HaveSuffix(" one 2"))
		}),
		Entry("a status that can't be one", `{"status":99999999999}`, ``, func(r auditRow) { Expect(r.StatusCode).To(BeNil()) }),
		Entry("an overlong actor and long data", `{"actor":{"id":"`+strings.Repeat("ä", 5000)+`"}}`, `{"account":"`+strings.Repeat("Ȁ", 50000)+`"}`, func(r auditRow) {
			Expect(len(r.Actor)).To(And(BeNumerically("<=", 500), BeNumerically(">", 490)))
			Expect(r.Actor).To(Equal(strings.Repeat("ä", len(r.Actor)/2)))
			Expect(len(r.Search)).To(And(BeNumerically("<=", 4096), BeNumerically(">", 4000)))
		}),
	)

	It("shows a tenant its own rows only", func(ctx context.Context) {
		indexed(ctx, counted{}.EventType(), "s", []byte(`{}`), []byte(`{}`))
		for _, role := range []string{"archon_app", "archon_reader"} {
			pool := b.pool(ctx, role)
			defer pool.Close()
			for tenant, rows := range map[string]int{"acme": 1, "other": 0, "": 0} {
				tx, err := pool.Begin(ctx)
				Expect(err).NotTo(HaveOccurred())
				_, err = tx.Exec(ctx, `select set_config('app.tenant_id', $1, true)`, tenant)
				Expect(err).NotTo(HaveOccurred())
				var count int
				Expect(tx.QueryRow(ctx, `select count(*) from audit_index`).Scan(&count)).To(Succeed())
				Expect(count).To(Equal(rows), "%s as %q", role, tenant)
				Expect(tx.Rollback(ctx)).To(Succeed())
			}
			_, err := pool.Exec(ctx, `delete from audit_index`)
			Expect(err).To(MatchError(ContainSubstring("permission denied")))
		}
	})
})
