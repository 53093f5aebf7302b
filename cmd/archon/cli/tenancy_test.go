package cli_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	calls "github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/gatewaytest"
)

// mark is in everything that the victim sends, so that it is noticed wherever it leaks.
const mark = "victim-8c1d5e"

var _ = Describe("Tenants", Ordered, ContinueOnFailure, Label("e2e"), func() {
	const victim, attacker = "victim", "attacker"
	var s *surface
	var theirs, mine string
	var theirProvider, theirJob, theirKey, theirRepricing string

	BeforeAll(func() {
		place := install()
		s = surfaceOf(place.start())
		theirs, mine = s.token(victim, mark, "admin", "auditor"), s.token(attacker, "mallory", "admin", "auditor")
		upstream := upstreamOf(gateway.OpenAI, gatewaytest.Options{})
		theirProvider, _ = s.register(theirs, openAI(mark, upstream.URL, canary))
		s.ask(http.MethodPatch, providersPath+"/"+theirProvider, theirs, map[string]any{"supported_models": []string{mark}})
		s.ask(http.MethodPost, providersPath, theirs, openAI(mark, upstream.URL, canary))
		s.ask(http.MethodPut, rulesPath, theirs, map[string]any{"rules": []any{map[string]any{
			"name": mark, "priority": 1, "action": map[string]any{"type": "direct", "providers": []any{map[string]any{"provider_id": theirProvider}}},
		}}})
		s.register(mine, openAI("mine", upstream.URL, canary))
		s.ask(http.MethodPost, departmentsPath, theirs, map[string]any{"id": mark, "name": mark})
		s.ask(http.MethodPut, settingsPath, theirs, map[string]any{"time_zone": "Asia/Tokyo", "alert_webhook_url": upstream.URL + "/" + mark})
		theirKey, _ = s.ask(http.MethodPost, keysPath, theirs, map[string]any{"name": mark}).data()["id"].(string)
		s.ask(http.MethodPut, pricingPath, theirs, priced(map[string]any{"model": mark}))
		s.ask(http.MethodPut, budgetsPath+"/key/"+theirKey, theirs, budgeted(nil))
		s.ask(http.MethodPut, budgetsPath+"/"+mark, theirs, budgeted(map[string]any{"department": mark}))
		raiseAlert(s.installation, victim, mark+"-unpriced") // a model with a price would have its alert resolved in the middle of a spec
		recordCall(s.installation, victim, calls.Recorded{ProviderID: theirProvider, Model: mark, DepartmentID: mark, UserID: mark})
		theirRepricing, _ = s.reprice(theirs, object{"from": "2026-01-01", "model": mark})["id"].(string)
		theirJob = uuid.NewString()
		ctx, conn := s.asSuperuser()
		_, err := conn.Exec(ctx, `insert into jobs (tenant_id, uuid, topic, payload, status, attempts, last_error, finished_at)
			values ('`+victim+`', '`+theirJob+`', 'providers.remove_secret', '{}', 'failed', 5, '`+mark+`', now())`)
		Expect(err).NotTo(HaveOccurred())
	})

	// bodies are valid ones, since a wrong body could be refused before anything is looked up.
	bodies := map[string]any{
		"changeProvider": map[string]any{"name": "stolen"}, "replaceCredentials": map[string]any{"api_key": "mine"},
		"renameDepartment": map[string]any{"name": "stolen"},
		"registerProvider": map[string]any{"name": "own", "type": "ollama", "base_url": "http://127.0.0.1:1"},
		"putBudget":        budgeted(nil),
	}
	// ids are the victim's, by the operations' paths.
	ids := func(template string) []string {
		switch {
		case strings.HasPrefix(template, "/api/v1/router/providers/{id}"):
			return []string{theirProvider}
		case strings.HasPrefix(template, "/api/v1/jobs/{id}"):
			return []string{theirJob}
		case strings.HasPrefix(template, keysPath+"/{id}"):
			return []string{theirKey}
		case strings.HasPrefix(template, departmentsPath+"/{id}"):
			return []string{mark}
		case strings.HasPrefix(template, repricingsPath+"/{id}"):
			return []string{theirRepricing}
		case strings.HasPrefix(template, budgetsPath+"/key/{id}"):
			return []string{theirKey}
		case strings.HasPrefix(template, budgetsPath+"/{department_id}"):
			return []string{mark}
		case strings.HasPrefix(template, streamsPath):
			return []string{"provider-" + theirProvider, "key-" + theirKey}
		}
		return nil
	}

	It("get of another tenant's ids what they get of ids that nobody has, on every route", func() {
		covered := 0
		eachOperation(s.doc, func(method, template string, operation *openapi3.Operation) {
			if operation.OperationID == "putDepartmentBudget" {
				return // departments need not be there, and everybody may have one of any id
			}
			template = strings.Replace(template, "{level}", "key", 1)
			if !strings.Contains(template, "{") || strings.HasPrefix(template, "/api/v1/projections/{name}/") || template == breakdownPath+"/{dimension}" ||
				template == auditPath+"/proof/{position}" {
				return // projections and dimensions have the same names in every tenant, and positions count from 1
			}
			Expect(ids(template)).NotTo(BeEmpty(), "say in this test what the victim has at "+template)
			if operation.RequestBody != nil {
				Expect(bodies).To(HaveKey(operation.OperationID), "give this test a valid body")
			}
			for _, id := range ids(template) {
				covered++
				at := method + " " + template
				before := s.head(theirs)
				foreign := s.ask(method, filled(template, id), mine, bodies[operation.OperationID])
				nobodys := s.ask(method, filled(template, uuid.NewString()), mine, bodies[operation.OperationID])
				Expect(foreign.status).To(Equal(http.StatusNotFound), at+foreign.body)
				Expect(foreign.body).To(Equal(nobodys.body), at)
				Expect(keys(foreign.header)).To(Equal(keys(nobodys.header)), at)
				for name := range foreign.header {
					if !slices.Contains([]string{"X-Correlation-Id", "X-Event-Position", "Date"}, name) {
						Expect(foreign.header.Get(name)).To(Equal(nobodys.header.Get(name)), at+" "+name)
					}
				}
				for _, more := range []header{{"If-Match": `"2"`}, {"If-Match": `"999"`}, {"Idempotency-Key": uuid.NewString()}, {"X-Min-Position": "1"}} {
					Expect(s.ask(method, filled(template, id), mine, bodies[operation.OperationID], more).status).To(Equal(http.StatusNotFound), fmt.Sprint(at, more))
				}
				Expect(s.head(theirs)).To(Equal(before), "the victim's log is untouched: "+at)
				if template == "/api/v1/jobs/{id}/retry" || template == "/api/v1/jobs/{id}/discard" {
					continue // the victim's own job answers once; not needed to know that it is there
				}
				at += ": the victim still has it"
				if strings.HasPrefix(template, repricingsPath) {
					Expect(s.get(repricingsPath+"/"+id, theirs).body).To(ContainSubstring(mark), at)
					continue
				}
				if strings.HasPrefix(template, budgetsPath) {
					Expect(s.get(filled(template, id), theirs).data()).To(HaveKeyWithValue("subject_id", id), at)
					continue
				}
				if strings.HasPrefix(template, streamsPath) {
					s.get(streamsPath+"/"+id, theirs)
					continue
				}
				if strings.HasPrefix(template, keysPath) {
					Expect(s.get(keysPath+"/"+id, theirs).data()).To(HaveKeyWithValue("status", "active"), at)
					continue
				}
				if strings.HasPrefix(template, departmentsPath) {
					Expect(s.get(departmentsPath+"/"+id, theirs).data()).To(HaveKeyWithValue("name", mark), at)
					continue
				}
				Expect(s.ask(http.MethodGet, providersPath+"/"+id, theirs, nil).status).To(Equal(http.StatusOK), at)
			}
		})
		Expect(covered).To(BeNumerically(">=", 10))
		ctx, conn := s.asSuperuser()
		Expect(one[string](ctx, conn, `select status from jobs where uuid = $1`, theirJob)).To(Equal("failed"), "nobody touched the victim's job")
	})

	It("see nothing of each other in lists, filters, cursors and their own audit trail", func() {
		for _, path := range []string{
			providersPath, providersPath + "/health", providersPath + "/health/detail", auditPath + "?telemetry=true", jobsPath, projectionsPath, verifyPath, mePath, keysPath, alertsPath, pricingPath + "?limit=500",
			rulesPath, fallbackPath, dashboardPath, breakdownPath + "/user", breakdownPath + "/department?from=2025-01-01", forecastPath, budgetsPath,
			budgetsPath + "?as_of=2999-01-01T00:00:00Z",
			auditPath + "/export", auditPath + "/checkpoint", auditPath + "/key", auditPath + "/proof/1", auditPath + "/consistency?from=1",
			eventsPath, eventsPath + "?stream=*&type=*", eventsPath + "?stream=provider-" + theirProvider,
			auditPath + "?q=" + mark, auditPath + "?actor=" + mark, auditPath + "?resource_id=" + theirProvider + "&outcome=succeeded",
			providersPath + "?as_of=2999-01-01T00:00:00Z", departmentsPath, departmentsPath + "?as_of=2999-01-01T00:00:00Z", settingsPath, settingsPath + "?as_of=2999-01-01T00:00:00Z",
		} {
			r := s.get(path, mine)
			Expect(r.body).NotTo(ContainSubstring(mark), path)
		}
		Expect(s.get(providersPath+"/health", mine).data()).To(HaveKeyWithValue("total", 1.0))
		at := header{"X-Min-Position": strconv.FormatInt(s.head(theirs), 10)}
		Expect(s.ask(http.MethodGet, dashboardPath, theirs, nil, at).body).To(ContainSubstring(mark), "there is something to see")
		Expect(s.ask(http.MethodGet, exportPath, theirs, nil, at).body).To(ContainSubstring(mark))
		Expect(s.ask(http.MethodGet, exportPath, mine, nil).body).To(HaveSuffix("currency\n"))
		theirPage := s.get(auditPath+"?limit=1", theirs)
		Expect(theirPage.nextCursor()).NotTo(BeEmpty())
		Expect(s.get(auditPath+"?cursor="+theirPage.nextCursor(), mine).body).NotTo(ContainSubstring(mark), "a cursor is no key")
	})

	It("cover every table of the database with row-level security", func() {
		ctx, conn := s.asSuperuser()
		Expect(rowsOf[string](conn.Query(ctx, `select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
			where n.nspname = 'public' and c.relkind in ('r', 'p') and not exists (
				select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id' and a.attnotnull)`))).
			To(HaveEach(Or(Equal("goose_db_version"), HavePrefix("watermill"))), "tables without a tenant")
		Expect(rowsOf[string](conn.Query(ctx, `select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
			where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not (c.relrowsecurity and c.relforcerowsecurity)`))).To(BeEmpty())
		Expect(rowsOf[string](conn.Query(ctx, `select i.indexrelid::regclass::text from pg_index i join pg_class c on c.oid = i.indrelid
			join pg_attribute t on t.attrelid = c.oid and t.attname = 'tenant_id'
			where c.relnamespace = 'public'::regnamespace and (i.indisprimary or i.indisunique) and i.indkey[0] <> t.attnum`))).To(BeEmpty(), "keys that don't begin with the tenant")
	})

	It("see in the database, as the runtime role, only what is theirs", func() {
		ctx, conn := connect(runtimeURL(s.installation))
		Expect(one[string](ctx, conn, "select current_user")).To(Equal("archon_app"))
		for _, table := range tenantTables(s) {
			if one[bool](ctx, conn, `select has_table_privilege($1, 'select')`, table) {
				Expect(one[int](ctx, conn, "select count(*) from "+table)).To(Equal(0), table+" without a tenant")
			}
		}
		inTenant(conn, attacker, func(tx pgx.Tx) {
			for _, table := range tenantTables(s) {
				if one[bool](ctx, tx.Conn(), `select has_table_privilege($1, 'select')`, table) {
					Expect(one[int](ctx, tx.Conn(), "select count(*) from "+table+" where tenant_id <> $1", attacker)).To(Equal(0), table)
				}
			}
			for _, table := range []string{"events", "chain_heads", "model_providers", "audit_index", "projection_checkpoints", "provider_health", "provider_health_history"} {
				Expect(one[int](ctx, tx.Conn(), "select count(*) from "+table)).To(BeNumerically(">", 0), table)
			}
		})
		for _, odd := range []string{"", "Victim", "victim ", "%", "victim' or true --"} {
			inTenant(conn, odd, func(tx pgx.Tx) {
				Expect(one[int](ctx, tx.Conn(), "select count(*) from events")).To(Equal(0), odd)
			})
		}
		Expect(one[int](ctx, conn, "select count(*) from events")).To(Equal(0), "the tenant went with its transaction")
	})

	It("can't be written to, and the log of none can be changed, by the runtime roles", func() {
		ctx, conn := connect(runtimeURL(s.installation))
		refused := func(role, tenant, sql, because string) {
			GinkgoHelper()
			inTenant(conn, tenant, func(tx pgx.Tx) {
				_, err := tx.Exec(ctx, "set local role "+role)
				Expect(err).NotTo(HaveOccurred())
				_, err = tx.Exec(ctx, sql)
				Expect(err).To(MatchError(ContainSubstring(because)), role+": "+sql)
			})
		}
		for _, role := range []string{"archon_app", "archon_worker"} {
			for _, tenant := range []string{attacker, ""} {
				refused(role, tenant, `update events set data = 'x'`, "permission denied")
				refused(role, tenant, `delete from events`, "permission denied")
				refused(role, tenant, `truncate events`, "permission denied")
				refused(role, tenant, `alter table events disable trigger all`, "must be owner")
				refused(role, tenant, `drop table events`, "must be owner")
				refused(role, tenant, `alter table events disable row level security`, "must be owner")
				refused(role, tenant, `set session_replication_role = replica`, "permission denied")
				refused(role, tenant, `insert into events select 'victim', 'provider-x', 'x', 99, 1, gen_random_uuid(), gen_random_uuid(), now(), '', '', '', ''`, "row-level security")
				refused(role, tenant, `insert into chain_heads (tenant_id, position, hash, occurred_at) values ('victim2', 1, sha256(''), now())`, "row-level security")
			}
		}
		refused("archon_app", attacker, `insert into model_providers select * from model_providers`, "permission denied")
		refused("archon_app", attacker, `update model_providers set name = 'x'`, "permission denied")
		refused("archon_app", attacker, `set role archon_owner`, "permission denied")
		s.refusedToOwner(`update events set data = 'x'`, "append-only")
		s.refusedToOwner(`delete from events`, "append-only")
		s.refusedToOwner(`truncate events`, "append-only")
	})

	It("are apart for the worker too, which sees across them only what it needs to find work", func() {
		ctx, conn := connect(runtimeURL(s.installation))
		_, err := conn.Exec(ctx, "set role archon_worker")
		Expect(err).NotTo(HaveOccurred())
		for _, table := range []string{"events", "model_providers", "audit_index", "provider_health", "provider_health_history", "provider_health_slots"} {
			Expect(one[int](ctx, conn, "select count(*) from "+table)).To(Equal(0), table)
		}
		Expect(one[int](ctx, conn, "select count(*) from commands where expires_at > now()")).To(Equal(0))
		Expect(one[int](ctx, conn, "select count(distinct tenant_id) from chain_heads")).To(BeNumerically(">=", 2))
		inTenant(conn, attacker, func(tx pgx.Tx) {
			Expect(one[int](ctx, tx.Conn(), "select count(*) from events where tenant_id <> $1", attacker)).To(Equal(0))
			Expect(one[int](ctx, tx.Conn(), "select count(*) from events")).To(BeNumerically(">", 0))
		})
	})

	It("have read tables with the contract's columns, for a reader who sees one tenant and writes none", func() {
		ctx, conn := s.asSuperuser()
		_, err := conn.Exec(ctx, "set role archon_reader")
		Expect(err).NotTo(HaveOccurred())
		for table, columns := range map[string]string{
			"model_providers": `id, name, type, base_url, vault_path, is_enabled, rate_limit_rpm, rate_limit_tpm, supported_models, capabilities,
				custom_headers, health_status, deleted_at, tenant_id, created_at`,
			"token_ledger": `id, execution_id, agent_id, provider_id, model, prompt_tokens, completion_tokens, total_tokens, cost_usd, user_id, department_id,
				tenant_id, created_at`,
			"department_budgets":      `id, department_id, budget_usd, period, warn_threshold_pct, block_threshold_pct, current_spend_usd, period_start, period_end, tenant_id, created_at`,
			"provider_health_history": `id, provider_id, latency_ms, error_rate_pct, requests_count, status, recorded_at, tenant_id, created_at`,
		} {
			read := "select count(*) from (select " + columns + " from " + table + ") t"
			Expect(one[int](ctx, conn, read)).To(Equal(0), "without a tenant")
			inTenant(conn, victim, func(tx pgx.Tx) {
				Expect(one[int](ctx, tx.Conn(), read)).To(BeNumerically(">=", 1), table)
			})
			for _, write := range []string{"delete from " + table, "update " + table + " set tenant_id = 'x'"} {
				_, err := conn.Exec(ctx, write)
				Expect(err).To(MatchError(Or(ContainSubstring("permission denied"), MatchRegexp(`cannot (delete from|update) view`))))
			}
		}
		inTenant(conn, victim, func(tx pgx.Tx) {
			var headers []string
			Expect(json.Unmarshal(one[[]byte](ctx, tx.Conn(), "select custom_headers from model_providers"), &headers)).To(Succeed(), "names only")
			Expect(one[string](ctx, tx.Conn(), "select vault_path from model_providers")).To(Equal("secret/tenants/" + victim + "/providers/" + theirProvider))
		})
		for _, columns := range []string{"secret_hash", "*"} {
			_, err := conn.Exec(ctx, "select "+columns+" from api_keys")
			Expect(err).To(MatchError(ContainSubstring("permission denied")), columns)
		}
		_, err = conn.Exec(ctx, "select id, name, hint, revoked_at from api_keys")
		Expect(err).NotTo(HaveOccurred())
		for _, table := range []string{"events", "commands", "chain_heads", "jobs", "audit_tiles", "audit_trees", "audit_checkpoints"} {
			_, err := conn.Exec(ctx, "select from "+table)
			Expect(err).To(MatchError(ContainSubstring("permission denied")), table)
		}
	})
})
