package bench

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"
)

// openLoopConns is how many calls can be under way at once. A call that finds none of them free waits, and the wait counts.
const openLoopConns = 256

// openLoops calls at constant rates, whether or not earlier calls have been answered, and measures from the time at which a
// call was due: a stall shows in every call that it held up, not only in one (no coordinated omission).
func (c GatewayConfig) openLoops(ctx context.Context, targets ...target) ([]GatewayResult, error) {
	var results []GatewayResult
	for _, rate := range gatewayRates {
		rounds := make([][]loopRound, len(targets))
		for round := range c.Rounds {
			for i, t := range targets {
				measured, err := c.openLoop(ctx, t, rate)
				if err != nil {
					return nil, err
				}
				rounds[i] = append(rounds[i], measured)
				c.reportf("round %d of %d, %s at %d requests/s: p50 %.2f ms, p99 %.2f ms, %d errors", round+1, c.Rounds, t.variant, rate,
					millis(percentile(measured.took, 50)), millis(percentile(measured.took, 99)), measured.errors)
			}
		}
		for i, t := range targets {
			results = append(results, mergeLoops(t, rate, rounds[i]))
		}
	}
	return results, nil
}

// loopRound is one round of an open loop; took is sorted.
type loopRound struct {
	took    []time.Duration
	errors  int
	elapsed time.Duration
	rss     float64
	cpu     time.Duration
}

func mergeLoops(t target, rate int, rounds []loopRound) GatewayResult {
	result := GatewayResult{Bench: gatewayBench, Measure: "open_loop", Variant: t.variant, Call: "plain", Rate: rate, Errors: new(int)}
	var p50s, p99s, costs, reached []float64
	for _, round := range rounds {
		calls := len(round.took)
		result.Calls += calls
		*result.Errors += round.errors
		p50s = append(p50s, millis(percentile(round.took, 50)))
		p99s = append(p99s, millis(percentile(round.took, 99)))
		result.Slowest = max(result.Slowest, millis(round.took[calls-1]))
		result.RSS = max(result.RSS, round.rss)
		costs = append(costs, round.cpu.Seconds()*1000/float64(calls))
		reached = append(reached, float64(calls-round.errors)/round.elapsed.Seconds())
	}
	result.P50, result.P99, result.CPU, result.Reached = median(p50s), median(p99s), rounded(median(costs)), rounded(median(reached))
	return result
}

// due is a call and when it is to begin.
type due struct {
	number int
	at     time.Time
}

// answer makes the calls of a queue, one after the other, on a connection that is replaced where one fails.
func (t target) answer(ctx context.Context, connection *caller, queue <-chan due, made func(call due, err error)) {
	defer func() { connection.close() }()
	for call := range queue {
		err := connection.plain(strconv.Itoa(call.number))
		made(call, err)
		if err == nil {
			continue
		}
		connection.close() // in whatever state it is
		if again, err := t.dial(ctx); err == nil {
			connection = again
		}
	}
}

// sleepUntil waits for a time.
func sleepUntil(at time.Time) {
	for now := time.Now(); now.Before(at); now = time.Now() {
		sleep(at.Sub(now))
	}
}

// count is how many calls have failed. It reports the first of them.
func (c GatewayConfig) count(failed []error) (errors int) {
	for _, err := range failed {
		if err == nil {
			continue
		}
		if errors == 0 {
			c.reportf("%v", err)
		}
		errors++
	}
	return errors
}

// openLoop calls at a constant rate, whether or not earlier calls have been answered.
func (c GatewayConfig) openLoop(ctx context.Context, t target, rate int) (loopRound, error) {
	calls := max(int(c.Duration.Seconds()*float64(rate)), 1)
	queue := make(chan due, calls)
	took := make([]time.Duration, calls)
	failed := make([]error, calls)
	var all sync.WaitGroup
	for range min(openLoopConns, calls) {
		connection, err := t.dial(ctx)
		if err != nil {
			close(queue)
			return loopRound{}, err
		}
		all.Go(func() {
			t.answer(ctx, connection, queue, func(call due, err error) {
				took[call.number], failed[call.number] = time.Since(call.at), err
			})
		})
	}
	stop, err := t.process.watch(ctx)
	if err != nil {
		close(queue)
		return loopRound{}, err
	}
	start := time.Now()
	for i := range calls {
		at := start.Add(time.Duration(i) * time.Second / time.Duration(rate))
		sleepUntil(at)
		queue <- due{i, at}
		if ctx.Err() != nil {
			break
		}
	}
	close(queue)
	all.Wait()
	round := loopRound{took: took, elapsed: time.Since(start)}
	if round.rss, round.cpu, err = stop(); err != nil {
		return loopRound{}, err
	}
	if ctx.Err() != nil {
		return loopRound{}, fmt.Errorf("measure: %w", ctx.Err())
	}
	round.errors = c.count(failed)
	slices.Sort(round.took)
	return round, nil
}
