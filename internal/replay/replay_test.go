package replay_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/domain/routing"
	"github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/eventcodec"
	"github.com/archonhq/archon/internal/replay"
)

// history is a log in memory, written as a gateway would.
type history struct {
	t        *testing.T
	events   []eventstore.Recorded
	versions map[string]int64
	broken   error

	rules    routing.Ruleset
	fallback routing.Fallback
	configs  map[string]providers.Config
}

const tenant = "acme"

func newHistory(t *testing.T) *history {
	t.Helper()
	return &history{t: t, versions: map[string]int64{}, configs: map[string]providers.Config{}, fallback: routing.DefaultFallback()}
}

func (h *history) Read(_ context.Context, _ string, after int64, limit int) ([]eventstore.Recorded, error) {
	if h.broken != nil {
		return nil, h.broken
	}
	rest := h.events[min(after, int64(len(h.events))):]
	return rest[:min(limit, len(rest))], nil
}

func (h *history) Load(_ context.Context, _, stream string, after int64) (found []eventstore.Recorded, err error) {
	for _, event := range h.events {
		if event.Stream == stream && event.Version > after {
			found = append(found, event)
		}
	}
	return found, h.broken
}

func (h *history) append(stream string, payload eventstore.Typed) {
	h.t.Helper()
	event, err := eventcodec.New().Encode(stream, payload)
	if err != nil {
		h.t.Fatal(err)
	}
	h.versions[stream]++
	h.events = append(h.events, eventstore.Recorded{
		Tenant: tenant, Stream: stream, Type: event.Type, Data: event.Data, Position: int64(len(h.events) + 1), Version: h.versions[stream],
	})
}

// configure registers a provider, or changes it.
func (h *history) configure(id string, change func(*providers.Config)) {
	h.t.Helper()
	config, known := h.configs[id]
	if !known {
		config = providers.Config{Name: "N-" + id, Type: "openai", IsEnabled: true, SupportedModels: []string{"model-" + id}, Capabilities: []string{"streaming"}}
	}
	if change != nil {
		change(&config)
	}
	h.configs[id] = config
	if known {
		h.append(providers.Stream(id), providers.Updated{ProviderID: id, Config: config})
	} else {
		h.append(providers.Stream(id), providers.Registered{ProviderID: id, Config: config})
	}
}

func (h *history) setRules(rules ...routing.Rule) {
	h.t.Helper()
	h.rules = routing.Ruleset{Rules: rules}
	h.append(routing.RulesetStream(tenant), routing.RulesetReplaced{Ruleset: h.rules})
}

func (h *history) setChain(ids ...string) {
	h.t.Helper()
	h.fallback = routing.DefaultFallback()
	for _, id := range ids {
		h.fallback.Chain = append(h.fallback.Chain, routing.Entry{ProviderID: id, Name: id})
	}
	h.append(routing.FallbackStream(tenant), routing.FallbackReplaced{Fallback: h.fallback})
}

func direct(id string) routing.Rule {
	return routing.Rule{ID: "r", Name: "to " + id, IsEnabled: true, Action: routing.Action{Type: routing.Direct, Targets: []routing.Target{{ProviderID: id, Weight: routing.One}}}}
}

// perModel is the price of a million tokens: a dollar for model-a in and out, half of one for model-b, none for the others.
func perModel(_, model string) (input, output int64, ok bool) {
	const usd = 10_000_000_000
	switch model {
	case "model-a":
		return usd, usd, true
	case "model-b":
		return usd / 2, usd / 2, true
	}
	return 0, 0, false
}

// call decides a call and records it. A million tokens went in, and change says what else came of it.
func (h *history) call(draw uint64, change func(*usage.Recorded, *routing.Record)) {
	h.t.Helper()
	in := routing.Input{
		Rules: h.rules, RulesVersion: h.versions[routing.RulesetStream(tenant)], Fallback: h.fallback, FallbackVersion: h.versions[routing.FallbackStream(tenant)],
		Request: routing.Request{Needs: []string{"streaming"}, PromptTokens: 100}, Draw: draw,
	}
	for id, config := range h.configs {
		in.Candidates = append(in.Candidates, routing.Candidate{
			ProviderID: id, Version: h.versions[providers.Stream(id)], Name: config.Name, Type: string(config.Type), Enabled: config.IsEnabled,
			Models: config.SupportedModels, Capabilities: config.Capabilities, Health: "healthy",
		})
	}
	decision := routing.Decide(in, perModel)
	record := routing.NewRecord(in, decision)
	recorded := usage.Recorded{CallID: fmt.Sprint("call-", len(h.events)), Outcome: usage.Succeeded, Attempts: []usage.Attempt{}}
	if choice, ok := decision.Chosen(); ok {
		recorded.ProviderID, recorded.ProviderType, recorded.Model = choice.ProviderID, "openai", choice.Model
		recorded.Attempts = append(recorded.Attempts, usage.Attempt{ProviderID: choice.ProviderID, Model: choice.Model, Outcome: "succeeded"})
		recorded.Tokens = domain.Tokens{Input: 600_000, Output: 400_000}
		if input, output, priced := perModel("openai", choice.Model); priced {
			recorded.Price = json.RawMessage(fmt.Sprintf(`{"input":%d,"cache_read":0,"cache_write":0,"output":%d,"reasoning":%d}`, input, output, output))
			recorded.CostUSD = map[string]string{"model-a": "1.0000000000", "model-b": "0.5000000000"}[choice.Model]
		} else {
			recorded.Unpriced = true
		}
	}
	if change != nil {
		change(&recorded, &record)
	}
	if recorded.Decision == nil {
		var err error
		if recorded.Decision, err = json.Marshal(record); err != nil {
			h.t.Fatal(err)
		}
	}
	h.append(usage.Stream(recorded.CallID), recorded)
}

func (h *history) replay(draft *routing.Ruleset) (replay.Report, []replay.Disagreement) {
	h.t.Helper()
	var found []replay.Disagreement
	report, err := replay.Run(context.Background(), h, eventcodec.New(), replay.Options{
		Tenant: tenant, Until: int64(len(h.events)), Draft: draft, Each: func(d replay.Disagreement) { found = append(found, d) },
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return report, found
}

func TestEveryDecisionAgreesHoweverOftenConfigurationChanged(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	h.configure("a", nil)
	h.call(1, nil) // by name, without any rule
	h.configure("b", nil)
	const rounds = 150 // more versions than are kept
	for i := range rounds {
		h.setRules(direct([]string{"a", "b"}[i%2]))
		h.call(uint64(i), nil)
		if i%3 == 0 {
			h.setChain([]string{"b", "a"}[i%2])
		}
		h.configure("a", func(c *providers.Config) { c.IsEnabled = i%5 > 0 })
		h.call(uint64(i), nil)
	}
	// One that was decided long ago and comes late.
	late := h.events[2]
	late.Position, late.Stream = int64(len(h.events)+1), "usage-late"
	h.events = append(h.events, late)
	report, found := h.replay(nil)
	want := replay.Report{Tenant: tenant, Calls: 2*rounds + 1, Agreed: 2*rounds + 1}
	if !reflect.DeepEqual(report, want) || len(found) > 0 {
		t.Errorf("got %+v, %v", report, found)
	}
}

func TestWhatDoesNotAgreeIsTold(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	h.configure("a", nil)
	h.configure("b", nil)
	h.setRules(direct("a"))
	h.call(1, nil)
	for _, change := range []func(*usage.Recorded, *routing.Record){
		func(_ *usage.Recorded, r *routing.Record) { r.Result.Plan[0].ProviderID = "b" },
		func(_ *usage.Recorded, r *routing.Record) { r.RulesVersion = 7 },
		func(_ *usage.Recorded, r *routing.Record) { r.FallbackVersion = 3 },
		func(_ *usage.Recorded, r *routing.Record) { r.Candidates[0].Version = 2 },
		func(c *usage.Recorded, _ *routing.Record) { c.Decision = json.RawMessage(`"no"`) },
	} {
		h.call(1, change)
	}
	h.call(1, func(c *usage.Recorded, _ *routing.Record) { c.Decision = json.RawMessage{} })
	report, found := h.replay(&routing.Ruleset{})
	if report.Calls != 7 || report.Agreed != 1 || report.Disagreed != 5 || report.Undecided != 1 {
		t.Errorf("got %+v", report)
	}
	for i, why := range []string{`plan was [{"id":"b"`, "no version 7 of stream ruleset-", "no version 3 of stream fallback-", "no version 2 of provider", "no decision"} {
		if !strings.Contains(found[i].Why, why) || found[i].Position != int64(5+i) || found[i].CallID != fmt.Sprint("call-", 4+i) || found[i].Tenant != tenant {
			t.Errorf("got %+v, want %s", found[i], why)
		}
	}
}

func TestOnlyThePartThatWasAskedForIsRead(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	h.configure("a", nil)
	for range 1200 {
		h.call(1, nil)
	}
	report, err := replay.Run(context.Background(), h, eventcodec.New(), replay.Options{Tenant: tenant, After: 11, Until: 1111})
	if err != nil || report.Calls != 1100 || report.Agreed != 1100 {
		t.Errorf("got %+v (%v)", report, err)
	}
}

func TestADraftIsComparedWithWhatWasDecided(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	for _, id := range []string{"a", "b", "c"} {
		h.configure(id, nil)
	}
	h.setRules(direct("b"))
	h.call(1, nil) // says what model-b costs
	h.setRules(direct("a"))
	for range 3 {
		h.call(1, nil)
	}
	h.call(1, func(c *usage.Recorded, _ *routing.Record) { // unpriced
		c.CostUSD, c.Price, c.Unpriced = "", nil, true
	})
	h.call(1, func(c *usage.Recorded, _ *routing.Record) { // nobody answered, which cost nothing
		c.Outcome, c.CostUSD, c.Price, c.Tokens = usage.Failed, "", nil, domain.Tokens{}
	})
	h.call(1, func(c *usage.Recorded, _ *routing.Record) { // nobody answered, and the draft's choice was tried
		c.Outcome, c.CostUSD, c.Price, c.Tokens = usage.Failed, "", nil, domain.Tokens{}
		c.Attempts = append(c.Attempts, usage.Attempt{ProviderID: "b"})
	})
	h.setRules(direct("c"))
	h.call(1, nil) // what it cost is not known
	draft := routing.Ruleset{Rules: []routing.Rule{direct("b")}}
	report, _ := h.replay(&draft)
	got, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"tenant":"acme","calls":8,"undecided":0,"agreed":8,"disagreed":0,"draft":{"calls":8,"moved":7,` +
		`"moves":[{"from":"a","from_name":"N-a","to":"b","to_name":"N-b","calls":6},{"from":"c","from_name":"N-c","to":"b","to_name":"N-b","calls":1}],` +
		`"refused":0,"failed":2,"failed_would_go_elsewhere":1,` +
		`"cost_of_moved":{"known_calls":5,"unknown_calls":2,"was_usd":"3.0000000000","would_be_usd":"1.5000000000"}}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if difference := report.Draft.Cost.Difference(); difference.String() != "-1.5000000000" {
		t.Errorf("the difference is %s", difference)
	}
}

func TestADraftThatRefusesIsTold(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	h.configure("a", nil)
	h.call(1, nil)
	draft := routing.Ruleset{Rules: []routing.Rule{direct("x")}}
	report, _ := h.replay(&draft)
	if d := report.Draft; d.Moved != 1 || d.Refused != 1 || d.Moves[0].To != "" || d.Cost.WouldBe.String() != "0.0000000000" || d.Cost.Was.String() != "1.0000000000" {
		t.Errorf("got %+v", d)
	}
}

func TestALogThatCantBeReadIsAnError(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	h.configure("a", nil)
	h.call(1, nil)
	h.broken = errors.New("away")
	if _, err := replay.Run(context.Background(), h, eventcodec.New(), replay.Options{Tenant: tenant, Until: 9}); !errors.Is(err, h.broken) {
		t.Errorf("got %v", err)
	}
	h.broken = nil
	h.events = slices.Clone(h.events)
	h.events[1].Data = []byte(`{`)
	if _, err := replay.Run(context.Background(), h, eventcodec.New(), replay.Options{Tenant: tenant, Until: 9}); err == nil || !strings.Contains(err.Error(), "position 2") {
		t.Errorf("got %v", err)
	}
}
