package routing_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/archonhq/archon/domain/routing"
)

// inputs is how many random situations each property is tried on.
const inputs = 3000

func TestTheOrderOfCandidatesChangesNothing(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 1))
	for range inputs {
		in := randomInput(random)
		want := routing.Decide(in, priced)
		in.Candidates = slices.Clone(in.Candidates)
		random.Shuffle(len(in.Candidates), func(i, k int) { in.Candidates[i], in.Candidates[k] = in.Candidates[k], in.Candidates[i] })
		if got := routing.Decide(in, priced); !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v\nof %+v", got, want, in)
		}
	}
}

func TestCompilingFirstChangesNothing(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(2, 2))
	for range inputs {
		in := randomInput(random)
		want := routing.Decide(in, priced)
		in.Rules = in.Rules.Compiled()
		if got := routing.Decide(in, priced); !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
	}
}

func TestWhatIsPlannedCanServeTheCall(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 3))
	planned, blocked := 0, 0
	for range inputs {
		in := randomInput(random)
		decision := routing.Decide(in, priced)
		byID := map[string]routing.Candidate{}
		for _, c := range in.Candidates {
			byID[c.ProviderID] = c
		}
		type link struct{ provider, model string }
		seen := map[link]bool{}
		for _, choice := range decision.Plan {
			c, there := byID[choice.ProviderID]
			tripped := c.Breaker == routing.Open || c.Breaker == routing.RateLimited || c.Breaker == routing.Dead
			switch {
			case !there || !c.Enabled || choice.Model == "":
				t.Fatalf("%+v is planned, of %+v", choice, in)
			case choice.Blocked != tripped || choice.Blocked != decision.Plan[0].Blocked:
				t.Fatalf("blocked is wrong: %+v of %+v", decision.Plan, in)
			case seen[link{choice.ProviderID, choice.Model}]:
				t.Fatalf("%+v is planned twice", choice)
			}
			for _, need := range in.Request.Needs {
				if !slices.Contains(c.Capabilities, need) {
					t.Fatalf("%+v lacks %s", c, need)
				}
			}
			seen[link{choice.ProviderID, choice.Model}] = true
		}
		if len(decision.Plan) > 0 {
			planned++
			if decision.Plan[0].Blocked {
				blocked++
			}
		}
		// Every candidate is accounted for.
		for id := range byID {
			inPlan := slices.ContainsFunc(decision.Plan, func(c routing.Choice) bool { return c.ProviderID == id })
			noted := slices.ContainsFunc(decision.NotChosen, func(n routing.NotChosen) bool { return n.ProviderID == id && n.Reason != "" })
			if !inPlan && !noted {
				t.Fatalf("%s is neither planned nor noted: %+v", id, decision)
			}
		}
	}
	if planned < inputs/4 || blocked < inputs/100 {
		t.Errorf("%d of %d inputs had a plan, %d a blocked one: the property says little", planned, inputs, blocked)
	}
}

func TestARecordedDecisionIsMadeAgain(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(4, 4))
	for range inputs {
		in := randomInput(random)
		want := routing.Decide(in, priced)
		encoded, err := json.Marshal(routing.NewRecord(in, want))
		if err != nil {
			t.Fatal(err)
		}
		var record routing.Record
		if err := json.Unmarshal(encoded, &record); err != nil {
			t.Fatal(err)
		}
		got, agree, difference := record.Replay(in.Rules, in.Fallback, configuredOf(in))
		if !agree || difference != "" || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s\ngot  %+v\nwant %+v\nof %s", difference, got, want, encoded)
		}
		again, err := json.Marshal(routing.NewRecord(in, got))
		if err != nil || string(again) != string(encoded) {
			t.Fatalf("recorded again it is\n%s\nand was\n%s", again, encoded)
		}
	}
}

func TestDrawsMatchTheWeights(t *testing.T) {
	t.Parallel()
	const draws = 200_000
	random := rand.New(rand.NewPCG(5, 5))
	in := routing.Input{Candidates: fleet(), Request: routing.Request{Model: "gpt"}, Rules: rules(rule(routing.WeightedRandom, "a=1.5", "b=0", "c=0.5", "b/claude-x=1")).Compiled()}
	count := map[string]int{}
	for range draws {
		in.Draw = random.Uint64()
		chosen, _ := routing.Decide(in, nil).Chosen()
		count[chosen.ProviderID]++
	}
	for id, share := range map[string]float64{"a": 0.5, "b": 1. / 3, "c": 1. / 6} {
		// Six standard deviations: a fair draw is off by more once in 500 million runs, and the seed is fixed anyway.
		if off, allowed := math.Abs(float64(count[id])-draws*share), 6*math.Sqrt(draws*share*(1-share)); off > allowed {
			t.Errorf("%s was drawn %d times of %d, wanted a share of %.3f", id, count[id], draws, share)
		}
	}
	if sum := count["a"] + count["b"] + count["c"]; sum != draws {
		t.Errorf("%d of %d draws chose nothing", draws-sum, draws)
	}
}

func TestNewcomersShareOneCallInTwenty(t *testing.T) {
	t.Parallel()
	const draws = 100_000
	random := rand.New(rand.NewPCG(6, 6))
	in := routing.Input{Candidates: fleet(latency("b", 5)), Request: routing.Request{Model: "gpt"}, Rules: rules(rule(routing.LeastLatency, "a", "b", "c")).Compiled()}
	count := map[string]int{}
	for range draws {
		in.Draw = random.Uint64()
		chosen, _ := routing.Decide(in, nil).Chosen()
		count[chosen.ProviderID]++
	}
	for id, share := range map[string]float64{"a": 0.025, "b": 0.95, "c": 0.025} {
		if off, allowed := math.Abs(float64(count[id])-draws*share), 6*math.Sqrt(draws*share*(1-share)); off > allowed {
			t.Errorf("%s was taken %d times of %d, wanted a share of %.3f", id, count[id], draws, share)
		}
	}
}

func TestAReplayTellsWhatDiffers(t *testing.T) {
	t.Parallel()
	in := routing.Input{
		Candidates: fleet(latency("a", 10)), Request: routing.Request{Model: "gpt", PromptTokens: 100}, RulesVersion: 3,
		Rules: rules(when(rule(routing.Direct, "b"), is(routing.Department, routing.Equal, `"d"`)), rule(routing.LeastCost, "a", "b")), Fallback: chained("c"),
	}
	fresh := func() routing.Record { return routing.NewRecord(in, routing.Decide(in, priced)) }
	for want, change := range map[string]func(*routing.Record) routing.Ruleset{
		"version 9 of the routing rules":      func(r *routing.Record) routing.Ruleset { r.Version = 9; return in.Rules },
		"no version 77 of provider b":         func(r *routing.Record) routing.Ruleset { r.Candidates[1].Version = 77; return in.Rules },
		`plan was [{"id":"b","model":"other"`: func(r *routing.Record) routing.Ruleset { r.Result.Plan[0].Model = "other"; return in.Rules },
		"trace was [0] and is now [0,-1]": func(r *routing.Record) routing.Ruleset {
			r.Result.Trace = r.Result.Trace[:1]
			return in.Rules
		},
		"fallback_used was true": func(r *routing.Record) routing.Ruleset { r.Result.FallbackUsed = true; return in.Rules },
		`rule was {"id":"r-least_cost"`: func(*routing.Record) routing.Ruleset {
			return rules(rule(routing.LeastCost, "a", "b"), when(rule(routing.Direct, "b")))
		},
		`it now needs the price of openai "gpt"`: func(r *routing.Record) routing.Ruleset { r.Prices = r.Prices[:1]; return in.Rules },
		"2 prices were looked up then, 0 now":    func(*routing.Record) routing.Ruleset { return rules(rule(routing.Direct, "a")) },
		`plan was [{"id":"b","model":"claude","via":"rule"},{"id":"c`: func(r *routing.Record) routing.Ruleset {
			*r.Prices[0].Input *= 10
			*r.Prices[0].Output *= 10
			return in.Rules
		},
	} {
		record := fresh()
		ruleset := change(&record)
		if want == `rule was {"id":"r-least_cost"` {
			ruleset.Rules[0].Name = "renamed"
		}
		_, agree, difference := record.Replay(ruleset, in.Fallback, configuredOf(in))
		if agree || !strings.Contains(difference, want) {
			t.Errorf("%s: agrees %v: %s", want, agree, difference)
		}
	}
	record := fresh()
	if _, agree, difference := record.Replay(in.Rules, in.Fallback, configuredOf(in)); !agree {
		t.Error(difference)
	}
}

func FuzzDecide(f *testing.F) {
	random := rand.New(rand.NewPCG(7, 7))
	for range 20 {
		in := randomInput(random)
		ruleset, _ := json.Marshal(in.Rules)
		fallback, _ := json.Marshal(in.Fallback)
		record, _ := json.Marshal(routing.NewRecord(in, routing.Decide(in, priced)))
		f.Add(ruleset, fallback, record)
	}
	f.Add([]byte(`{"rules":[{"is_enabled":true,"conditions":[{"field":"model","operator":"regex","value":"((a{99}){99}"}],"action":{"type":"weighted_random","providers":[{"weight":1e6},{"weight":-1}]}}]}`), []byte(`{"chain":[{"priority":-9223372036854775808}]}`), []byte(`{"v":1,"draw":"18446744073709551615","candidates":[{"id":"","latency_us":-1}]}`))
	f.Fuzz(func(t *testing.T, ruleset, fallback, recorded []byte) {
		var rules routing.Ruleset
		var chain routing.Fallback
		record := routing.Record{Version: 1}
		if json.Unmarshal(ruleset, &rules) != nil || json.Unmarshal(fallback, &chain) != nil || json.Unmarshal(recorded, &record) != nil {
			return
		}
		known := func(id string, version int64) (routing.Configured, bool) {
			return routing.Configured{Name: id, Type: "openai", Enabled: version%2 == 0, Models: []string{"gpt", id}, Capabilities: routing.Capabilities()}, true
		}
		problem := rules.Problem(nil)
		if chain.Problem(nil) == nil && problem == nil {
			// What may be stored comes back from the log as it was.
			encoded, err := json.Marshal(rules)
			var back routing.Ruleset
			if err != nil || json.Unmarshal(encoded, &back) != nil {
				t.Fatalf("%s was accepted and can't be stored: %v", ruleset, err)
			}
			if again, _ := json.Marshal(back); string(again) != string(encoded) {
				t.Fatalf("%s came back as %s", encoded, again)
			}
		}
		in, err := record.Input(rules, chain, known)
		if err != nil {
			t.Fatal(err)
		}
		decision := routing.Decide(in, priced)
		again := routing.NewRecord(in, decision)
		if _, agree, difference := again.Replay(rules, chain, known); !agree {
			t.Fatal(difference)
		}
	})
}

func BenchmarkDecideAndRecord(b *testing.B) {
	random := rand.New(rand.NewPCG(8, 8))
	var in routing.Input
	in.Request = routing.Request{Model: "gpt", Needs: []string{"streaming"}, DepartmentID: "d-7", PromptTokens: 812}
	for range 20 {
		in.Candidates = append(in.Candidates, routing.Candidate{
			ProviderID: "0190a1b2-0000-7000-8000-" + string(rune('a'+len(in.Candidates))) + "0000000001", Version: 3, Name: "n", Type: "openai", Enabled: true,
			Models: []string{"gpt", "gpt-mini"}, Capabilities: routing.Capabilities(), Health: "healthy", Breaker: routing.Closed, LatencyMS: new(random.Float64() * 900),
		})
	}
	cheap := rule(routing.LeastCost)
	for _, c := range in.Candidates {
		cheap.Action.Targets = append(cheap.Action.Targets, routing.Target{ProviderID: c.ProviderID, Weight: routing.One})
	}
	for range 10 {
		in.Rules.Rules = append(in.Rules.Rules, when(rule(routing.Direct, "x"), is(routing.Model, routing.Regex, `"^claude-(opus|sonnet)"`)))
	}
	in.Rules.Rules = append(in.Rules.Rules, cheap)
	in.Rules = in.Rules.Compiled()
	in.Fallback = chained(in.Candidates[3].ProviderID, in.Candidates[4].ProviderID)
	b.Run("decide", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			routing.Decide(in, priced)
		}
	})
	decision := routing.Decide(in, priced)
	b.Run("record", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			encoded, err := json.Marshal(routing.NewRecord(in, decision))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(len(encoded)), "bytes")
		}
	})
}
