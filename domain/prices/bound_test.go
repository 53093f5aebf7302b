package prices_test

import (
	"testing"
	"testing/quick"
	"time"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/prices"
)

// However the tokens of a call are counted, it costs no more than was set aside for it.
func TestNoCallCostsMoreThanItsUpperBound(t *testing.T) {
	t.Parallel()
	all := prices.NewBook(nil).Prices()
	keeps := func(pick uint16, input, read, write, output, reasoning uint32) bool {
		price := all[int(pick)%len(all)]
		tokens := domain.Tokens{
			Input: int64(input % 1e6), CacheRead: int64(read % 1e6), CacheWrite: int64(write % 1e6), Output: int64(output % 1e6), Reasoning: int64(reasoning % 1e6),
		}
		return price.Cost(tokens) <= price.UpperBound(tokens.Prompt(), tokens.Completion())
	}
	if err := quick.Check(keeps, &quick.Config{MaxCount: 20_000}); err != nil {
		t.Error(err)
	}
	price, _ := prices.NewBook(nil).At("openai", "gpt-4o-mini", time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC))
	if got, want := price.UpperBound(1000, 1000).String(), "0.0007500001"; got != want {
		t.Errorf("a bound of %s USD, want %s: not far above the cost", got, want)
	}
}
