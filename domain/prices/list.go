package prices

import (
	"bytes"
	_ "embed" // the list
	"encoding/csv"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/archonhq/archon/domain"
)

//go:embed prices.csv
var listed []byte

// list is the price list that comes with the program. A list that can't be read is a fault of the build.
var list = sync.OnceValue(func() []Price { //nolint:gochecknoglobals // a constant, read when it is needed
	prices, err := readList(listed)
	if err != nil {
		panic("the price list: " + err.Error())
	}
	return prices
})

// columns of prices.csv; its head says what they mean.
var columns = []string{ //nolint:gochecknoglobals // a constant
	"provider_type", "model", "effective_from", "above_prompt_tokens", "input", "cached_input", "cache_write", "output",
}

var (
	errColumns = errors.New("has other columns than this program reads")
	errOrder   = errors.New("a tier must follow the ordinary price of its model and date, in ascending order")
	errTwice   = errors.New("is listed twice")
)

// readList reads prices.csv, in whose order a model's tiers follow its ordinary price.
func readList(file []byte) ([]Price, error) {
	reader := csv.NewReader(bytes.NewReader(file))
	reader.Comment = '#'
	rows, err := reader.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("read it: %w", err)
	}
	if len(rows) == 0 || !slices.Equal(rows[0], columns) {
		return nil, errColumns
	}
	var prices []Price
	for _, row := range rows[1:] {
		price, above, err := readRow(row)
		if err == nil && above > 0 {
			err = addTier(prices, price, above)
		} else if err == nil {
			prices = append(prices, price)
		}
		if err != nil {
			return nil, fmt.Errorf("%s %s %s: %w", row[0], row[1], row[2], err)
		}
	}
	slices.SortFunc(prices, Compare)
	for i := range prices[:max(0, len(prices)-1)] {
		if Compare(prices[i], prices[i+1]) == 0 {
			return nil, fmt.Errorf("%s %s: %w", prices[i].ProviderType, prices[i].Model, errTwice)
		}
	}
	return prices, nil
}

func addTier(prices []Price, tier Price, above int64) error {
	if len(prices) == 0 {
		return errOrder
	}
	last := &prices[len(prices)-1]
	if Compare(*last, tier) != 0 || (len(last.Tiers) > 0 && last.Tiers[len(last.Tiers)-1].AbovePromptTokens >= above) {
		return errOrder
	}
	last.Tiers = append(last.Tiers, Tier{AbovePromptTokens: above, Rates: tier.Rates})
	return nil
}

func readRow(row []string) (price Price, above int64, err error) {
	price = Price{ProviderType: row[0], Model: row[1], Source: FromList}
	if row[2] != "" {
		if price.EffectiveFrom, err = time.Parse(time.DateOnly, row[2]); err != nil {
			return price, 0, fmt.Errorf("effective_from: %w", err)
		}
	}
	if above, err = strconv.ParseInt(row[3], 10, 64); err != nil || above < 0 {
		return price, 0, fmt.Errorf("above_prompt_tokens: %w", errors.Join(err, errColumns))
	}
	var rates [4]*Rate
	for i, text := range row[4:] {
		if text == "" {
			continue
		}
		amount, err := domain.ParseAmount(text, domain.AmountPlaces)
		if err != nil {
			return price, 0, fmt.Errorf("%s: %w", columns[4+i], err)
		}
		rate := Rate(amount)
		rates[i] = &rate
	}
	if rates[0] == nil || rates[3] == nil {
		return price, 0, fmt.Errorf("input and output: %w", domain.ErrNotAnAmount)
	}
	price.Rates = NewRates(*rates[0], *rates[3], rates[1], rates[2])
	return price, above, nil
}

// NewRates completes rates of which only input and output are certain: cached input and cache writes cost as much as input
// where they have no price of their own, never less, and reasoning as much as output.
func NewRates(input, output Rate, cacheRead, cacheWrite *Rate) Rates {
	rates := Rates{Input: input, CacheRead: input, CacheWrite: input, Output: output, Reasoning: output}
	if cacheRead != nil {
		rates.CacheRead = *cacheRead
	}
	if cacheWrite != nil {
		rates.CacheWrite = *cacheWrite
	}
	return rates
}

// listedByName is the list as a Book has it.
var listedByName = sync.OnceValue(func() map[name][]Price { return byName(list()) }) //nolint:gochecknoglobals // as list
