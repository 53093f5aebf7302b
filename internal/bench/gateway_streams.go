package bench

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"
)

// streams opens streams until all are open at once, has the upstream go on with their answers only then, and counts those
// that come to their end with the answer that was asked for.
func (c GatewayConfig) streams(ctx context.Context, upstream *upstream, targets ...target) ([]GatewayResult, error) {
	var results []GatewayResult
	for _, t := range targets {
		result, err := c.openStreams(ctx, upstream, t)
		if err != nil {
			return nil, err
		}
		results = append(results, result)
		c.reportf("%d streams at once, %s: %d wrong", result.Calls, t.variant, *result.Errors)
	}
	return results, nil
}

// streamsPerSecond is how fast streams are opened.
const streamsPerSecond = 500

func (c GatewayConfig) openStreams(ctx context.Context, upstream *upstream, t target) (GatewayResult, error) {
	stop, err := t.process.watch(ctx)
	if err != nil {
		return GatewayResult{}, err
	}
	took := make([]time.Duration, c.Streams)
	failed := make([]error, c.Streams)
	var all, open sync.WaitGroup
	open.Add(c.Streams)
	start := time.Now()
	for i := range c.Streams {
		at := start.Add(time.Duration(i) * time.Second / streamsPerSecond)
		sleepUntil(at)
		all.Go(func() {
			opened := sync.OnceFunc(open.Done)
			defer opened() // one that fails is waited for no longer
			connection, err := t.dial(ctx)
			if err != nil {
				failed[i] = err
				return
			}
			defer connection.close()
			failed[i] = connection.streamed(strconv.Itoa(i), true, func() {
				took[i] = time.Since(at)
				opened()
			})
		})
	}
	open.Wait()
	released := time.Now()
	upstream.release()
	all.Wait()
	finished := time.Since(released)
	result := GatewayResult{Bench: gatewayBench, Measure: "streams", Variant: t.variant, Call: "first_token", Calls: c.Streams, Errors: new(int)}
	var used time.Duration
	if result.RSS, used, err = stop(); err != nil {
		return GatewayResult{}, err
	}
	if ctx.Err() != nil {
		return GatewayResult{}, fmt.Errorf("measure: %w", ctx.Err())
	}
	*result.Errors = c.count(failed)
	slices.Sort(took)
	result.P50, result.P99, result.Slowest = millis(percentile(took, 50)), millis(percentile(took, 99)), millis(took[len(took)-1])
	result.CPU, result.Finished = rounded(used.Seconds()*1000/float64(c.Streams)), millis(finished)
	return result, nil
}
