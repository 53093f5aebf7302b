package costs_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/costs"
)

var began = time.Date(2026, 7, 14, 12, 0, 0, 0, time.UTC)

// perToken prices every token of the models that it names.
func perToken(prices map[string]domain.Amount) costs.PriceBook {
	return func(_, model string, _ time.Time, tokens domain.Tokens) (costs.Priced, bool) {
		price, found := prices[model]
		return costs.Priced{Model: "base-" + model, Price: json.RawMessage(fmt.Sprintf(`{"rate":%d}`, price)), Cost: price * domain.Amount(tokens.Total())}, found
	}
}

// attempt consumed ten tokens.
func attempt(model string, cost *domain.Amount) costs.Attempt {
	return costs.Attempt{ProviderID: "p-" + model, ProviderType: "openai", Model: model, Tokens: domain.Tokens{Input: 7, Output: 3}, Cost: cost}
}

func callWith(attempts ...costs.Attempt) *costs.Call {
	return &costs.Call{ID: "c-1", Position: 4, StartedAt: began, KeyID: "k-1", UserID: "ada", DepartmentID: "d-1", AgentID: "a-1", Attempts: attempts, Answered: true}
}

func TestRepriceBooksWhatDiffers(t *testing.T) {
	t.Parallel()
	all := costs.RepricingRequested{RepricingID: "r-1", BookVersion: 3}
	for name, c := range map[string]struct {
		request costs.RepricingRequested
		call    *costs.Call
		book    map[string]domain.Amount
		want    costs.Found
		books   bool
	}{
		"the same cost":                     {all, callWith(attempt("m", new(domain.Amount(50)))), map[string]domain.Amount{"m": 5}, costs.Found{Examined: 1}, false},
		"more":                              {all, callWith(attempt("m", new(domain.Amount(50)))), map[string]domain.Amount{"m": 6}, costs.Found{Examined: 1, Repriced: 1, Difference: 10}, true},
		"less":                              {all, callWith(attempt("m", new(domain.Amount(50)))), map[string]domain.Amount{"m": 0}, costs.Found{Examined: 1, Repriced: 1, Difference: -50}, true},
		"a price where there was none":      {all, callWith(attempt("m", nil)), map[string]domain.Amount{"m": 5}, costs.Found{Examined: 1, Repriced: 1, NewlyPriced: 1, Difference: 50}, true},
		"a price of nothing":                {all, callWith(attempt("m", nil)), map[string]domain.Amount{"m": 0}, costs.Found{Examined: 1, Repriced: 1, NewlyPriced: 1}, true},
		"still no price":                    {all, callWith(attempt("m", nil)), nil, costs.Found{Examined: 1, Unpriced: 1}, false},
		"a price that is gone stays":        {all, callWith(attempt("m", new(domain.Amount(50)))), nil, costs.Found{Examined: 1}, false},
		"one attempt of two":                {all, callWith(attempt("lost", new(domain.Amount(20))), attempt("m", new(domain.Amount(50)))), map[string]domain.Amount{"lost": 1, "m": 5}, costs.Found{Examined: 1, Repriced: 1, Difference: -10}, true},
		"attempts that make up for another": {all, callWith(attempt("lost", new(domain.Amount(20))), attempt("m", new(domain.Amount(50)))), map[string]domain.Amount{"lost": 3, "m": 4}, costs.Found{Examined: 1, Repriced: 1}, true},
		"one of two that had no price":      {all, callWith(attempt("lost", nil), attempt("m", nil)), map[string]domain.Amount{"m": 5}, costs.Found{Examined: 1, Repriced: 1, Unpriced: 1, Difference: 50}, true},
		"nothing consumed":                  {all, callWith(), nil, costs.Found{}, false},
		"another type":                      {costs.RepricingRequested{ProviderType: "google", BookVersion: 3}, callWith(attempt("m", nil)), map[string]domain.Amount{"m": 5}, costs.Found{}, false},
		"another model":                     {costs.RepricingRequested{Model: "n", BookVersion: 3}, callWith(attempt("m", nil)), map[string]domain.Amount{"m": 5}, costs.Found{}, false},
		"this model":                        {costs.RepricingRequested{Model: "m", ProviderType: "openai", BookVersion: 3}, callWith(attempt("m", nil)), map[string]domain.Amount{"m": 5}, costs.Found{Examined: 1, Repriced: 1, NewlyPriced: 1, Difference: 50}, true},
		"the model of its price":            {costs.RepricingRequested{Model: "base-m", BookVersion: 3}, callWith(attempt("m", nil)), map[string]domain.Amount{"m": 5}, costs.Found{Examined: 1, Repriced: 1, NewlyPriced: 1, Difference: 50}, true},
		"the model of an attempt":           {costs.RepricingRequested{Model: "lost", BookVersion: 3}, callWith(attempt("lost", new(domain.Amount(20))), attempt("m", new(domain.Amount(50)))), map[string]domain.Amount{"lost": 1, "m": 4}, costs.Found{Examined: 1, Repriced: 1, Difference: -20}, true},
		"the largest amounts":               {all, callWith(attempt("a", new(domain.Amount(0))), attempt("b", new(domain.Amount(0)))), map[string]domain.Amount{"a": math.MaxInt64 / 10, "b": math.MaxInt64 / 10}, costs.Found{Examined: 1, Repriced: 1, Difference: math.MaxInt64}, true},
	} {
		event, found, books := c.request.Reprice(c.call, c.call.Recorded(), perToken(c.book))
		if found != c.want || books != c.books {
			t.Errorf("%s: %+v %v, want %+v %v", name, found, books, c.want, c.books)
		}
		if !books {
			continue
		}
		again, _, more := c.request.Reprice(c.call, c.call.Recorded().After(c.call, event), perToken(c.book))
		if more {
			t.Errorf("%s: the second time there is more to book: %+v", name, again)
		}
		if event.NewCost-event.OldCost != event.Difference || event.Position != 4 || event.KeyID != "k-1" || event.UserID != "ada" || event.DepartmentID != "d-1" || event.AgentID != "a-1" || !event.StartedAt.Equal(began) {
			t.Errorf("%s: %+v", name, event)
		}
	}
}

func TestRepriceSaysByWhichPriceTheAnswerIs(t *testing.T) {
	t.Parallel()
	call := callWith(attempt("lost", new(domain.Amount(20))), attempt("m", nil))
	book := perToken(map[string]domain.Amount{"lost": 2, "m": 5})
	event, _, _ := costs.RepricingRequested{RepricingID: "r-1", BookVersion: 3}.Reprice(call, call.Recorded(), book)
	if string(event.Price) != `{"rate":5}` || !event.Priced || event.WasPriced || event.OldCost != 20 || event.NewCost != 70 || event.BookVersion != 3 || event.RepricingID != "r-1" {
		t.Errorf("got %+v", event)
	}
	call.Answered = false
	if event, _, _ = (costs.RepricingRequested{}).Reprice(call, call.Recorded(), book); event.Price != nil {
		t.Errorf("an attempt that did not answer is no answer: %s", event.Price)
	}
}

func TestAnOlderBookNeverComesBack(t *testing.T) {
	t.Parallel()
	call := callWith(attempt("m", new(domain.Amount(50))))
	younger, _, _ := costs.RepricingRequested{BookVersion: 5}.Reprice(call, call.Recorded(), perToken(map[string]domain.Amount{"m": 8}))
	booked := call.Recorded().After(call, younger)
	if _, found, books := (costs.RepricingRequested{BookVersion: 4}).Reprice(call, booked, perToken(map[string]domain.Amount{"m": 7})); books || found != (costs.Found{}) {
		t.Error("an older price book was booked after a younger one")
	}
	if _, _, books := (costs.RepricingRequested{BookVersion: 5}).Reprice(call, booked, perToken(map[string]domain.Amount{"m": 7})); !books {
		t.Error("the same version with another list of the program is booked")
	}
	other := younger
	other.Position++
	if after := call.Recorded().After(call, other); *after.Parts[0] != 50 {
		t.Error("the difference of another call was taken for this one's")
	}
}

// Whatever books follow each other, what was recorded and all differences come to what the last book says, in each part.
func TestDifferencesAddUpToTheLastBook(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(8, 5))
	models := []string{"a", "b", "c"}
	for range 2000 {
		call := callWith()
		for range 1 + random.IntN(3) {
			cost := new(domain.Amount(random.IntN(100)))
			if random.IntN(3) == 0 {
				cost = nil
			}
			call.Attempts = append(call.Attempts, attempt(models[random.IntN(3)], cost))
		}
		booked := call.Recorded()
		sum, parts := domain.Amount(0), make([]domain.Amount, len(call.Attempts))
		for i, one := range call.Attempts {
			if one.Cost != nil {
				parts[i] = *one.Cost
				sum += *one.Cost
			}
		}
		last := map[string]domain.Amount{}
		for version := range int64(4) {
			for _, model := range models {
				if random.IntN(2) == 0 {
					last[model] = domain.Amount(random.IntN(20))
				}
			}
			event, _, books := costs.RepricingRequested{BookVersion: version}.Reprice(call, booked, perToken(last))
			if !books {
				continue
			}
			if event.OldCost != sum {
				t.Fatalf("it begins at %s, and the call was at %s", event.OldCost, sum)
			}
			sum += event.Difference
			for i, part := range event.Parts {
				parts[i] += part.Difference()
			}
			booked = booked.After(call, event)
		}
		want := domain.Amount(0)
		for i, one := range call.Attempts {
			cost := domain.Amount(0)
			if price, priced := last[one.Model]; priced {
				cost = 10 * price
			} else if one.Cost != nil {
				cost = *one.Cost
			}
			if parts[i] != cost {
				t.Fatalf("attempt %d comes to %s, want %s", i, parts[i], cost)
			}
			want += cost
		}
		if sum != want {
			t.Fatalf("the call comes to %s, want %s", sum, want)
		}
	}
}

func TestARepricingIsAskedForOnceAndChecked(t *testing.T) {
	t.Parallel()
	decider := costs.RepricingDecider()
	id := uuid.NewString()
	wanted := costs.RepricingRequested{RepricingID: id, From: began, Until: began.Add(time.Microsecond), BookVersion: 2}
	events, err := decider.Decide(costs.Repricing{}, costs.Request{RepricingRequested: wanted})
	if err != nil || len(events) != 1 || events[0].Stream != "repricing-"+id || events[0].Event != domain.Event(wanted) {
		t.Fatalf("got %v %v", events, err)
	}
	state := decider.Fold(events[0].Event)
	if events, err = decider.Decide(state, costs.Request{RepricingRequested: wanted}); err != nil || len(events) > 0 {
		t.Errorf("asked for twice: %v %v", events, err)
	}
	for _, spoil := range []func(*costs.RepricingRequested){
		func(r *costs.RepricingRequested) { r.Until = r.From },
		func(r *costs.RepricingRequested) { r.Model = "a\x00b" },
		func(r *costs.RepricingRequested) { r.Model = string(make([]byte, 201)) },
	} {
		bad := wanted
		spoil(&bad)
		if _, err := decider.Decide(costs.Repricing{}, costs.Request{RepricingRequested: bad}); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
	state = decider.Evolve(state, costs.RepricingProgressed{Place: costs.Place{StartedAt: began, Position: 7}, Found: costs.Found{Examined: 5, Difference: 3}})
	if state.Completed || state.Place.Position != 7 || state.Found.Examined != 5 {
		t.Errorf("got %+v", state)
	}
	state = decider.Evolve(state, costs.RepricingCompleted{Found: costs.Found{Examined: 9}})
	if !state.Completed || state.Found.Examined != 9 {
		t.Errorf("got %+v", state)
	}
	if got := (costs.Found{Difference: math.MinInt64}).Plus(costs.Found{Difference: -1}).Difference; got != math.MinInt64 {
		t.Errorf("a sum beyond an amount is %s", got)
	}
}
