package eventcodec_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/alerts"
	"github.com/archonhq/archon/domain/audit"
	"github.com/archonhq/archon/domain/budgets"
	"github.com/archonhq/archon/domain/costs"
	"github.com/archonhq/archon/domain/costsettings"
	"github.com/archonhq/archon/domain/departments"
	"github.com/archonhq/archon/domain/keys"
	"github.com/archonhq/archon/domain/operations"
	"github.com/archonhq/archon/domain/prices"
	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/domain/routing"
	"github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/internal/eventcodec"
)

var write = flag.Bool("write", false, "write golden files that are missing; one that exists is never changed")

// examples are events with every field set, whose stored bytes must be readable for ever.
func examples() []domain.Event {
	limit := int64(600)
	at := time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)
	secret := providers.Secret{VaultPath: "secret/tenants/acme/providers/0190a1b2-0000-7000-8000-000000000001", SecretVersion: 3}
	id := "0190a1b2-0000-7000-8000-000000000001"
	config := providers.Config{
		Name: "Azure Ost", Type: "azure_openai", BaseURL: "https://ost.openai.azure.com", IsEnabled: true,
		RateLimitRPM: &limit, SupportedModels: []string{"gpt-4o"}, Capabilities: []string{"vision", "streaming"}, CustomHeaders: []string{"X-Team"},
	}
	var latency providers.Histogram
	latency.Add(12)
	latency.Add(800)
	return []domain.Event{
		providers.Registered{ProviderID: id, Config: config, Secret: secret},
		providers.Updated{ProviderID: id, Config: config, Secret: secret, Changed: []string{"name"}},
		providers.CredentialsRotated{ProviderID: id, Secret: secret},
		providers.Deleted{ProviderID: id, Name: "Azure Ost", VaultPath: secret.VaultPath},
		providers.SecretRemoved{ProviderID: id, VaultPath: secret.VaultPath},
		providers.NameClaimed{ProviderID: id, Name: "Azure Ost"},
		providers.NameReleased{ProviderID: id, Name: "Azure Ost"},
		providers.Probed{ProviderID: id, LatencyMS: 37, Error: "401: no such key", Failures: 2, Trigger: providers.OnSchedule, CheckedAt: at},
		providers.Sampled{ProviderID: id, From: at.Truncate(time.Second), To: at, Requests: 2, Errors: 1, Latency: latency},
		keys.Created{
			KeyID: id, SecretHash: keys.Hash("s"), Hint: "x7Qk", CreatedBy: "u-1",
			Config: keys.Config{Name: "CI", DepartmentID: new("d-1"), Models: []string{"gpt-4o", "claude-*"}, RateLimitRPM: &limit, BudgetNanoUSD: &limit, ExpiresAt: &at},
		},
		keys.Revoked{KeyID: id},
		prices.Overridden{Overrides: []prices.Override{{
			ProviderType: "openai", Model: "gpt-4o", EffectiveFrom: at,
			Rates: prices.Rates{Input: 20_000_000_000, CacheRead: 10_000_000_000, CacheWrite: 25_000_000_000, Output: 80_000_000_000, Reasoning: 80_000_000_000},
		}}},
		alerts.Raised{AlertID: id, Kind: alerts.UnpricedModel, Subject: "openai/gpt-99", Message: "It has no price.", Details: map[string]any{"model": "gpt-99"}},
		budgets.Set{Subject: budgets.Subject{Level: budgets.Department, ID: id}, Config: budgets.Config{
			Department: "Research", Budget: 250*domain.USD + budgets.MicroUSD, Period: budgets.Quarterly, Warn: 7550, Block: new(budgets.DefaultBlock),
		}},
		budgets.Removed{Subject: budgets.Subject{Level: budgets.Key, ID: id}},
		alerts.Resolved{AlertID: id, Kind: alerts.UnpricedModel, Subject: "openai/gpt-99", Resolution: "It has one now."},
		departments.Created{DepartmentID: "support", Name: "Support"},
		departments.Renamed{DepartmentID: "support", Name: "Customer care", Was: "Support"},
		departments.NameClaimed{DepartmentID: "support", Name: "Support"},
		departments.NameReleased{DepartmentID: "support", Name: "Support"},
		costsettings.Changed{
			Settings: costsettings.Settings{TimeZone: "Europe/Berlin", Webhook: &costsettings.Webhook{
				URL: "https://example.com/alerts", VaultPath: "secret/tenants/acme/alert-webhook", SecretVersion: 2, PreviousVersion: 1, RotatedAt: &at,
			}},
			Changed: []string{"time_zone", "alert_webhook_secret"},
		},
		providers.BreakerChanged{
			ProviderID: id, From: "closed", To: "open", Failures: 5, Reason: "first_byte_timeout", OpenedAt: &at, Until: &at, Generation: 1772366400123, Local: true, At: at,
		},
		audit.WriteRefused{ResourceType: "provider", ResourceID: id, Code: "name_taken", Message: "Taken.", Details: map[string]any{"name": "is taken"}, Suppressed: 4},
		audit.Incarnated{
			Incarnation: 2, Reason: "The disk of the database was lost.", Surviving: &audit.Checkpoint{Origin: "archon/acme/1", Size: 40, Root: strings.Repeat("0a", 32)},
			Lost: audit.Checkpoint{Origin: "archon/acme/1", Size: 41, Root: strings.Repeat("0b", 32)},
		},
		audit.RootsRecorded{At: at, Logs: []audit.LogRoot{{Tenant: "acme", Size: 40, Root: strings.Repeat("0a", 32)}, {Tenant: "broken"}}, Missing: []string{"globex"}},
		audit.Anchored{
			Checkpoint: audit.Checkpoint{Origin: "archon/acme/1", Size: 40, Root: strings.Repeat("0a", 32)},
			Anchors:    []audit.Anchor{{Name: "directory"}, {Name: "witness.example.com", Receipt: "— witness.example.com AAAA"}},
		},
		operations.ProjectionRetried{Name: "providers"},
		operations.ProjectionRebuildRequested{Name: "providers"},
		operations.ProjectionPaused{Name: "providers"},
		operations.ProjectionResumed{Name: "providers"},
		operations.JobRetried{JobID: id},
		operations.JobDiscarded{JobID: id},
		usage.Recorded{
			CallID: id, Kind: usage.Chat, Streamed: true, StartedAt: at, KeyID: id, UserID: "u-1", DepartmentID: "d-1", AgentID: "a-1", ExecutionID: "e-1",
			RequestedModel: "gpt-4o", ProviderID: id, ProviderType: "openai", Model: "gpt-4o-mini", Outcome: usage.Incomplete, Status: 200, Code: "stream_cut",
			Attempts: []usage.Attempt{{ProviderID: id, Model: "gpt-4o-mini", Outcome: "rate_limit", Status: 429, LatencyUS: 812, FirstByteUS: 700, Error: "429: slow down"}},
			Decision: json.RawMessage(`{"v":1}`), Tokens: domain.Tokens{Input: 10, CacheRead: 20, CacheWrite: 30, Output: 40, Reasoning: 50},
			Source: "provider", RawUsage: json.RawMessage(`{"prompt_tokens":60}`), Price: json.RawMessage(`{"source":"list"}`), CostUSD: "0.0000012345",
			Unpriced: true, LatencyUS: 4711, FirstTokenUS: 1234,
		},
		costs.RepricingRequested{RepricingID: id, From: at, Until: at.Add(time.Hour), ProviderType: "openai", Model: "gpt-4o", DryRun: true, BookVersion: 3},
		costs.RepricingProgressed{
			RepricingID: id, Place: costs.Place{StartedAt: at, Position: 4711},
			Found: costs.Found{Examined: 500, Repriced: 120, NewlyPriced: 3, Unpriced: 1, Difference: -12_345},
		},
		costs.RepricingCompleted{RepricingID: id, Found: costs.Found{Examined: 500, Repriced: 120, NewlyPriced: 3, Unpriced: 1, Difference: -12_345}},
		costs.CallRepriced{
			RepricingID: id, BookVersion: 3, CallID: id, Position: 4711, StartedAt: at, KeyID: id, UserID: "u-1", DepartmentID: "d-1", AgentID: "a-1",
			OldCost: 25_000, NewCost: 12_655, Difference: -12_345, WasPriced: true, Priced: true,
			Parts: []costs.Part{{ProviderID: id, Model: "gpt-4o", OldCost: new(domain.Amount(25_000)), NewCost: new(domain.Amount(12_655))}},
			Price: json.RawMessage(`{"source":"override"}`),
		},
		routing.RulesetReplaced{Ruleset: routing.Ruleset{
			Rules: []routing.Rule{{
				ID: id, Name: "Cheap vision", Priority: 2, IsEnabled: true,
				Conditions: []routing.Condition{
					{Field: routing.ModelCapability, Operator: routing.Includes, Value: routing.Value{List: []string{"vision"}}},
					{Field: routing.CostLimit, Operator: routing.Less, Value: routing.Value{Number: "0.0025"}},
					{Field: routing.Model, Operator: routing.Regex, Value: routing.Value{Text: "^gpt-"}},
				},
				Action: routing.Action{Type: routing.LeastCost, Targets: []routing.Target{{ProviderID: id, Weight: routing.One * 5 / 2, Model: "gpt-4o-mini"}}},
			}},
			Default: &routing.Default{ProviderID: id},
		}},
		routing.FallbackReplaced{Fallback: routing.Fallback{
			Chain:    []routing.Entry{{ProviderID: id, Name: "Azure Ost", Priority: 1, Model: "gpt-4o"}},
			Breaker:  routing.Breaker{FailureThreshold: 5, CooldownSeconds: 60, HalfOpenMaxRequests: 3},
			Triggers: []routing.Trigger{routing.OnTimeout, routing.OnContentPolicy},
		}},
	}
}

// Golden files hold what is in logs for ever: they may be added to and never edited.
func TestEveryEventOfEveryContextHasADefinitionAnExampleAndAGoldenFile(t *testing.T) {
	t.Parallel()
	codec := eventcodec.New()
	shown := map[string]domain.Event{}
	for _, example := range examples() {
		shown[example.EventType()] = example
	}
	listed := map[string]bool{}
	golden := map[string]int{} // by folder
	for _, event := range eventcodec.Contexts() {
		name := event.EventType()
		if listed[name] {
			t.Errorf("%s is listed twice", name)
		}
		listed[name] = true
		example, found := shown[name]
		if !codec.Knows(name) || !found {
			t.Errorf("%s: known to the codec: %v, has an example: %v", name, codec.Knows(name), found)
			continue
		}
		encoded, err := codec.Encode("x-1", example)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join("..", "..", "domain", folder(name), "testdata")
		golden[dir]++
		file := filepath.Join(dir, name+".json")
		stored, err := os.ReadFile(file)
		if os.IsNotExist(err) && *write {
			stored = encoded.Data
			err = os.WriteFile(file, stored, 0o600)
		}
		if err != nil {
			t.Errorf("golden file of %s: %v (go test ./internal/eventcodec -write makes a missing one)", name, err)
			continue
		}
		if string(stored) != string(encoded.Data) {
			t.Errorf("%s is stored differently now: a changed meaning is a new version\nstored %s\nnow    %s", name, stored, encoded.Data)
		}
		decoded, err := codec.Decode(name, stored)
		if err != nil {
			t.Fatal(err)
		}
		again, err := codec.Encode("x-1", decoded)
		if err != nil || string(again.Data) != string(stored) {
			t.Errorf("%s does not survive a round trip: %s (%v)", name, again.Data, err)
		}
		if reflect.ValueOf(decoded).IsZero() {
			t.Errorf("%s: the golden file says nothing", name)
		}
	}
	for dir, events := range golden {
		if files, err := filepath.Glob(filepath.Join(dir, "*.json")); err != nil || len(files) != events {
			t.Errorf("%s: %d files for %d events (%v)", dir, len(files), events, err)
		}
	}
}

// folder is the package of an event, by the first word of its name but for settings.
func folder(name string) string {
	if name == (costsettings.Changed{}).EventType() {
		return "costsettings"
	}
	context, _, _ := strings.Cut(name, ".")
	switch context {
	case "provider", "providername", "providerhealth":
		return "providers"
	case "alert":
		return "alerts"
	case "budget":
		return "budgets"
	case "key":
		return "keys"
	case "department", "departmentname":
		return "departments"
	case "projection", "job":
		return "operations"
	}
	return context
}
