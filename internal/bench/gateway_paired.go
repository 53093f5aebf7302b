package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"
)

// warmUp is how many calls of each target go before those that count: connections, caches and the runtime's heap settle.
const warmUp = 200

// paired makes one call at a time, to the upstream itself and through Archon, in random order, and compares the two of each
// pair: whatever else the machine does then hits both alike.
func (c GatewayConfig) paired(ctx context.Context, upstream, archon target) ([]GatewayResult, error) {
	direct, err := upstream.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer direct.close()
	through, err := archon.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer through.close()
	var results []GatewayResult
	for _, one := range []struct {
		call    string
		measure func(*caller, string) (time.Duration, error)
	}{{"plain", timePlain}, {"first_token", timeFirstToken}} {
		result, err := c.pairs(ctx, one.call, [2]*caller{direct, through}, one.measure)
		if err != nil {
			return nil, err
		}
		results = append(results, result)
	}
	return results, nil
}

func (c GatewayConfig) pairs(ctx context.Context, call string, callers [2]*caller, measure func(*caller, string) (time.Duration, error)) (GatewayResult, error) {
	var took [2][]time.Duration
	var added []time.Duration
	deadline := time.Now().Add(c.Duration * time.Duration(c.Rounds))
	for i := -warmUp; i < 1 || time.Now().Before(deadline); i++ {
		if ctx.Err() != nil {
			return GatewayResult{}, fmt.Errorf("measure %s: %w", call, ctx.Err())
		}
		var pair [2]time.Duration
		first := rand.IntN(len(pair)) //nolint:gosec // an order
		for _, which := range []int{first, 1 - first} {
			var err error
			if pair[which], err = measure(callers[which], strconv.Itoa(i+warmUp)); err != nil {
				return GatewayResult{}, fmt.Errorf("measure %s: %w", call, err)
			}
		}
		if i == 0 {
			deadline = time.Now().Add(c.Duration * time.Duration(c.Rounds))
		}
		if i < 0 {
			continue
		}
		for which := range pair {
			took[which] = append(took[which], pair[which])
		}
		added = append(added, pair[1]-pair[0])
	}
	for _, values := range [][]time.Duration{took[0], took[1], added} {
		slices.Sort(values)
	}
	result := GatewayResult{
		Bench: gatewayBench, Measure: "paired", Variant: callers[1].target.variant, Call: call, Calls: len(added),
		AddedP50: millis(percentile(added, 50)), AddedP90: millis(percentile(added, 90)),
		P50: millis(percentile(took[1], 50)), UpstreamP50: millis(percentile(took[0], 50)),
	}
	c.reportf("paired, %s, %s: %.3f ms more", result.Variant, call, result.AddedP50)
	return result, nil
}

func timePlain(c *caller, number string) (time.Duration, error) {
	start := time.Now()
	err := c.plain(number)
	return time.Since(start), err
}

func timeFirstToken(c *caller, number string) (took time.Duration, err error) {
	start := time.Now()
	err = c.streamed(number, false, func() { took = time.Since(start) })
	return took, err
}
