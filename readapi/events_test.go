package readapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/alerts"
	"github.com/archonhq/archon/domain/audit"
	"github.com/archonhq/archon/domain/keys"
	"github.com/archonhq/archon/domain/prices"
	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/domain/routing"
	"github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/eventstore"
)

// testLine is a line of the export.
type testLine struct {
	Position int64  `json:"position"`
	Stream   string `json:"stream"`
	Version  int64  `json:"version"`
	Type     string `json:"type"`
	Meta     string `json:"meta"`
	Data     string `json:"data"`
}

var _ = Describe("the log itself", Label("postgres"), func() {
	var f *fixture
	BeforeEach(func(ctx context.Context) { f = newFixture(ctx) })

	list := func(ctx context.Context, of string, params api.ListEventsParams) (api.ListEvents200JSONResponse, error) {
		response, err := f.events.ListEvents(as(ctx, of), api.ListEventsRequestObject{Params: params})
		found, _ := response.(api.ListEvents200JSONResponse)
		return found, err //nolint:wrapcheck // a test
	}
	read := func(lines []api.Event) []testLine {
		GinkgoHelper()
		parsed := make([]testLine, len(lines))
		for i, line := range lines {
			Expect(json.Unmarshal(line, &parsed[i])).To(Succeed())
		}
		return parsed
	}
	positions := func(lines []api.Event) []int64 {
		GinkgoHelper()
		all := []int64{}
		for _, line := range read(lines) {
			all = append(all, line.Position)
		}
		return all
	}
	state := func(ctx context.Context, stream string, asOf *time.Time) (api.StreamState, error) {
		response, err := f.events.GetStreamState(as(ctx, tenant), api.GetStreamStateRequestObject{Stream: stream, Params: api.GetStreamStateParams{AsOf: asOf}})
		found, _ := response.(api.GetStreamState200JSONResponse)
		return found.Data, err //nolint:wrapcheck // a test
	}
	diff := func(ctx context.Context, stream string, from, to *int64) (api.StreamDiff, error) {
		response, err := f.events.DiffStream(as(ctx, tenant), api.DiffStreamRequestObject{Stream: stream, Params: api.DiffStreamParams{From: from, To: to}})
		found, _ := response.(api.DiffStream200JSONResponse)
		return found.Data, err //nolint:wrapcheck // a test
	}
	// readable are changes as "path: before → after".
	readable := func(changes []api.FieldChange) []string {
		text := func(raw *json.RawMessage) string {
			if raw == nil {
				return "-"
			}
			return string(*raw)
		}
		lines := []string{}
		for _, change := range changes {
			lines = append(lines, fmt.Sprintf("%s: %s → %s", change.Path, text(change.Before), text(change.After)))
		}
		return lines
	}

	It("is listed in the export's fields, by filters", func(ctx context.Context) {
		id := f.register(ctx, tenant, "Main")
		f.probe(ctx, tenant, id, true, 0)
		f.append(ctx, tenant, audit.Stream(tenant), did("PUT", "/x", 409), audit.WriteRefused{Code: "conflict"})
		f.register(ctx, other, "Foreign")
		recorded, err := f.store.Read(ctx, tenant, 0, 10)
		Expect(err).NotTo(HaveOccurred())
		all, err := list(ctx, tenant, api.ListEventsParams{})
		Expect(err).NotTo(HaveOccurred())
		Expect(all.Data).To(HaveLen(3))
		for i := range recorded {
			line, err := recorded[i].ExportLine()
			Expect(err).NotTo(HaveOccurred())
			Expect(string(all.Data[i])).To(Equal(string(line)))
		}
		for name, c := range map[string]struct {
			params api.ListEventsParams
			want   []int64
		}{
			"stream":        {api.ListEventsParams{Stream: new("provider-" + id)}, []int64{1}},
			"prefix":        {api.ListEventsParams{Stream: new("provider*")}, []int64{1, 2}},
			"type":          {api.ListEventsParams{Type: new("audit.*,provider.registered.v1")}, []int64{1, 3}},
			"both":          {api.ListEventsParams{Stream: new("provider*"), Type: new("providerhealth.*")}, []int64{2}},
			"after":         {api.ListEventsParams{After: new(int64(1))}, []int64{2, 3}},
			"after the end": {api.ListEventsParams{After: new(int64(99))}, []int64{}},
			"none":          {api.ListEventsParams{Stream: new("provider-" + uuid.NewString())}, []int64{}},
		} {
			found, err := list(ctx, tenant, c.params)
			Expect(err).NotTo(HaveOccurred(), name)
			Expect(positions(found.Data)).To(Equal(c.want), name)
			Expect(found.Data).NotTo(BeNil(), name)
		}
		for _, bad := range []string{",", "a*b", strings.Repeat("x", 300)} {
			_, err := list(ctx, tenant, api.ListEventsParams{Stream: new("a"), Type: &bad})
			Expect(err).To(MatchError(ContainSubstring("invalid_parameter")), bad)
		}
		_, err = list(ctx, tenant, api.ListEventsParams{Cursor: new("nonsense")})
		Expect(err).To(MatchError(ContainSubstring("cursor")))
	})

	It("is paged by position, each event once, while events arrive", func(ctx context.Context) {
		for i := range 30 {
			id := f.register(ctx, tenant, fmt.Sprint("p", i))
			f.probe(ctx, tenant, id, true, 0)
		}
		for _, filter := range []string{"provider-*", "provider*"} {
			var got []int64
			params := api.ListEventsParams{Stream: &filter, Limit: new(7)}
			for more := 3; ; more-- {
				found, err := list(ctx, tenant, params)
				Expect(err).NotTo(HaveOccurred())
				got = append(got, positions(found.Data)...)
				if more > 0 {
					f.register(ctx, tenant, "another")
				}
				if params.Cursor = found.Meta.Pagination.NextCursor; params.Cursor == nil {
					break
				}
			}
			whole, err := list(ctx, tenant, api.ListEventsParams{Stream: &filter, Limit: new(500)})
			Expect(err).NotTo(HaveOccurred())
			Expect(got).To(Equal(positions(whole.Data)))
		}
	})

	It("ends a page that would be too large, and goes on behind it", func(ctx context.Context) {
		large := strings.Repeat("x", 3<<20)
		for range 3 {
			f.append(ctx, tenant, "audit-1", domain.Meta{}, audit.WriteRefused{Message: large})
		}
		page, err := list(ctx, tenant, api.ListEventsParams{})
		Expect(err).NotTo(HaveOccurred())
		Expect(positions(page.Data)).To(Equal([]int64{1, 2}))
		page, err = list(ctx, tenant, api.ListEventsParams{Cursor: page.Meta.Pagination.NextCursor})
		Expect(err).NotTo(HaveOccurred())
		Expect(positions(page.Data)).To(Equal([]int64{3}))
		Expect(page.Meta.Pagination.NextCursor).To(BeNil())
	})

	It("tells the story of a stream, to its tenant alone", func(ctx context.Context) {
		id := f.register(ctx, tenant, "Main")
		stream := providers.Stream(id)
		for version := range 4 {
			f.append(ctx, tenant, stream, did("PUT", "/c", 200), providers.CredentialsRotated{ProviderID: id, Secret: providers.Secret{SecretVersion: version + 2}})
			f.register(ctx, tenant, "another")
		}
		var versions []int64
		params := api.GetStreamParams{Limit: new(2)}
		for {
			response, err := f.events.GetStream(as(ctx, tenant), api.GetStreamRequestObject{Stream: stream, Params: params})
			Expect(err).NotTo(HaveOccurred())
			page := response.(api.GetStream200JSONResponse)
			for _, line := range read(page.Data) {
				Expect(line.Stream).To(Equal(stream))
				versions = append(versions, line.Version)
			}
			if params.Cursor = page.Meta.Pagination.NextCursor; params.Cursor == nil {
				break
			}
		}
		Expect(versions).To(Equal([]int64{1, 2, 3, 4, 5}))
		for _, request := range []api.GetStreamRequestObject{{Stream: "provider-" + uuid.NewString()}, {Stream: ""}, {Stream: "x\x00"}, {Stream: strings.Repeat("x", 999)}} {
			_, err := f.events.GetStream(as(ctx, tenant), request)
			Expect(err).To(MatchError(ContainSubstring("not_found")))
		}
		for _, ask := range []func() error{
			func() error {
				_, err := f.events.GetStream(as(ctx, other), api.GetStreamRequestObject{Stream: stream})
				return err
			},
			func() error {
				_, err := f.events.GetStreamState(as(ctx, other), api.GetStreamStateRequestObject{Stream: stream})
				return err
			},
			func() error {
				_, err := f.events.DiffStream(as(ctx, other), api.DiffStreamRequestObject{Stream: stream})
				return err
			},
		} {
			Expect(ask()).To(MatchError(ContainSubstring("not_found")))
		}
	})

	It("rebuilds what a provider looked like at any time, and what changed", func(ctx context.Context) {
		id := f.register(ctx, tenant, "Main")
		stream := providers.Stream(id)
		registered, err := state(ctx, stream, nil)
		Expect(err).NotTo(HaveOccurred())
		config := providers.Config{Name: "Renamed", Type: "openai", BaseURL: "https://api.openai.com", SupportedModels: []string{"gpt-4o", "gpt-5"}, Capabilities: []string{}, CustomHeaders: []string{}}
		f.append(ctx, tenant, stream, did("PATCH", "/p", 200), providers.Updated{ProviderID: id, Config: config, Secret: providers.Secret{VaultPath: "v", SecretVersion: 2}})
		f.append(ctx, tenant, stream, did("DELETE", "/p", 204), providers.Deleted{ProviderID: id, Name: "Renamed"})
		now, err := state(ctx, stream, nil)
		Expect(err).NotTo(HaveOccurred())
		Expect(now.Version).To(Equal(int64(3)))
		Expect(now.State).To(MatchJSON(`{"provider_id": "` + id + `", "name": "Renamed", "type": "openai", "base_url": "https://api.openai.com", "is_enabled": false,
			"rate_limit_rpm": null, "rate_limit_tpm": null, "supported_models": ["gpt-4o", "gpt-5"], "capabilities": [], "custom_headers": [],
			"vault_path": "v", "secret_version": 2, "is_deleted": true, "is_secret_removed": false}`))
		then, err := state(ctx, stream, &registered.OccurredAt)
		Expect(err).NotTo(HaveOccurred())
		Expect(then).To(Equal(registered))
		Expect(string(then.State)).To(ContainSubstring(`"name":"Main"`))
		_, err = state(ctx, stream, new(registered.OccurredAt.Add(-time.Microsecond)))
		Expect(err).To(MatchError(ContainSubstring("not_found")))

		found, err := diff(ctx, stream, new(int64(1)), new(int64(2)))
		Expect(err).NotTo(HaveOccurred())
		Expect(readable(found.Changes)).To(Equal([]string{
			`capabilities: ["vision"] → []`, `custom_headers: ["X-Team"] → []`, `is_enabled: true → false`, `name: "Main" → "Renamed"`,
			`rate_limit_rpm: 60 → -`, `secret_version: 1 → 2`, `supported_models: ["gpt-4o"] → ["gpt-4o","gpt-5"]`,
			`vault_path: "secret/tenants/acme/providers/` + id + `" → "v"`,
		}))
		found, err = diff(ctx, stream, nil, nil)
		Expect(err).NotTo(HaveOccurred())
		Expect(found).To(And(HaveField("From", int64(2)), HaveField("To", int64(3))))
		Expect(readable(found.Changes)).To(Equal([]string{"is_deleted: false → true"}))
		found, err = diff(ctx, stream, nil, new(int64(1)))
		Expect(err).NotTo(HaveOccurred())
		Expect(readable(found.Changes)).To(ContainElement(`name: - → "Main"`))
		for _, bad := range [][2]*int64{{new(int64(3)), nil}, {new(int64(2)), new(int64(2))}, {nil, new(int64(4))}, {new(int64(9)), new(int64(1))}} {
			_, err = diff(ctx, stream, bad[0], bad[1])
			Expect(err).To(MatchError(ContainSubstring("invalid_parameter")))
		}
	})

	It("shows every kind of stream, and nothing secret or personal", func(ctx context.Context) {
		id := uuid.NewString()
		hash := keys.Hash("s")
		rule := routing.Rule{ID: id, Name: "r", Action: routing.Action{Type: routing.Direct, Targets: []routing.Target{{ProviderID: id}}}}
		for _, c := range []struct {
			stream string
			events []eventstore.Typed
			want   string
		}{
			{providers.NameStream("x"), []eventstore.Typed{providers.NameClaimed{ProviderID: id, Name: "x"}}, `{"name": "x", "provider_id": "` + id + `"}`},
			{providers.NameStream("y"), []eventstore.Typed{providers.NameClaimed{ProviderID: id, Name: "y"}, providers.NameReleased{ProviderID: id, Name: "y"}}, `{"name": "y", "provider_id": null}`},
			{keys.Stream(id), []eventstore.Typed{keys.Created{KeyID: id, Config: keys.Config{Name: "k"}, SecretHash: hash, Hint: "abcd", CreatedBy: "ada"}, keys.Revoked{KeyID: id}}, `{"key_id": "` + id + `", "name": "k",
				"department_id": null, "models": null, "rate_limit_rpm": null, "budget_nano_usd": null, "expires_at": null, "hint": "abcd", "created_by": "ada", "is_revoked": true}`},
			{routing.FallbackStream(tenant), []eventstore.Typed{routing.FallbackReplaced{Fallback: routing.DefaultFallback()}}, `{"chain": [],
				"circuit_breaker": {"failure_threshold": 5, "cooldown_seconds": 60, "half_open_max_requests": 3}, "failover_triggers": ["timeout", "rate_limit", "server_error"]}`},
			{routing.RulesetStream(tenant), []eventstore.Typed{routing.RulesetReplaced{Ruleset: routing.Ruleset{Rules: []routing.Rule{rule}}}}, `{"rules": [{"id": "` + id + `", "name": "r", "priority": 0,
				"conditions": [], "action": {"type": "direct", "providers": [{"provider_id": "` + id + `", "weight": 0}]}, "is_enabled": false}], "default_rule": null}`},
			{
				alerts.Stream("unpriced_model", "x"),
				[]eventstore.Typed{alerts.Raised{AlertID: id, Kind: "unpriced_model", Subject: "x", Message: "m"}, alerts.Resolved{AlertID: id, Resolution: "priced"}},
				`{"alert_id": "` + id + `", "kind": "unpriced_model", "subject": "x", "message": "m", "is_open": false, "resolution": "priced"}`,
			},
			{prices.Stream(tenant), []eventstore.Typed{prices.Overridden{}, prices.Overridden{}}, `{"overrides": null}`},
			{audit.Stream(tenant), []eventstore.Typed{audit.WriteRefused{Code: "a"}, audit.WriteRefused{Code: "b"}}, `{"code": "b", "message": ""}`},
		} {
			for _, event := range c.events {
				f.append(ctx, tenant, c.stream, did("PUT", "/x", 200), event)
			}
			found, err := state(ctx, c.stream, nil)
			Expect(err).NotTo(HaveOccurred(), c.stream)
			Expect(found.State).To(MatchJSON(c.want), c.stream)
			Expect(found.Version).To(Equal(int64(len(c.events))), c.stream)
		}
		f.append(ctx, tenant, usage.Stream(id), did("POST", "/v1", 200), usage.Recorded{CallID: id, UserID: "grace@example.com", Model: "gpt"})
		found, err := state(ctx, usage.Stream(id), nil)
		Expect(err).NotTo(HaveOccurred())
		Expect(string(found.State)).To(And(ContainSubstring(`"model":"gpt"`), Not(ContainSubstring("grace"))))
		f.probe(ctx, tenant, id, false, 2)
		f.sample(ctx, id, time.Minute, 1, 5, 6)
		found, err = state(ctx, providers.HealthStream(id), nil)
		Expect(err).NotTo(HaveOccurred())
		Expect(string(found.State)).To(And(ContainSubstring(`"failures":2`), ContainSubstring(`"requests":2,"errors":1`), ContainSubstring(`"circuit_breaker":null`)))
	})

	It("says of entries of a list what changed in each, and that they moved", func(ctx context.Context) {
		a, b, c := uuid.NewString(), uuid.NewString(), uuid.NewString()
		rule := func(id string, priority int64) routing.Rule {
			return routing.Rule{ID: id, Name: id, Priority: priority}
		}
		for _, rules := range [][]routing.Rule{{rule(a, 1), rule(b, 2)}, {rule(b, 5), rule(a, 1), rule(c, 3)}} {
			f.append(ctx, tenant, routing.RulesetStream(tenant), did("PUT", "/r", 200), routing.RulesetReplaced{Ruleset: routing.Ruleset{Rules: rules}})
		}
		found, err := diff(ctx, routing.RulesetStream(tenant), nil, nil)
		Expect(err).NotTo(HaveOccurred())
		Expect(readable(found.Changes)).To(ConsistOf(
			`rules[]: ["`+a+`","`+b+`"] → ["`+b+`","`+a+`"]`, "rules["+b+"].priority: 2 → 5", HavePrefix("rules["+c+`]: - → {"action"`)))
	})

	It("answers 503 for a stream with events of a newer program", func(ctx context.Context) {
		_, err := f.store.Append(ctx, eventstore.Append{Tenant: tenant, Events: []eventstore.NewEvent{{Stream: "key-1", Type: "key.moved.v9", Data: []byte("{}")}}})
		Expect(err).NotTo(HaveOccurred())
		_, err = state(ctx, "key-1", nil)
		Expect(err).To(MatchError(ContainSubstring("503")))
	})
})
