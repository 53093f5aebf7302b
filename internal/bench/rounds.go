package bench

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// variant is one way of doing what a bench measures.
type variant struct {
	name    string
	callers int
	measure func(ctx context.Context) (measurement, error)
}

// interleave measures every variant once a round, so that whatever else happens on the machine hits all of them.
func (c Config) interleave(ctx context.Context, bench string, scratch *Scratch, variants []variant) ([]Result, error) {
	rounds := make([][]measurement, len(variants))
	for round := range c.Rounds {
		for i, v := range variants {
			if err := scratch.settle(ctx); err != nil {
				return nil, err
			}
			m, err := v.measure(ctx)
			if err != nil {
				return nil, fmt.Errorf("measure %s: %w", v.name, err)
			}
			rounds[i] = append(rounds[i], m)
			if c.Progress != nil {
				fmt.Fprintf(c.Progress, "round %d of %d, %s: %.0f events/s\n", round+1, c.Rounds, v.name, float64(m.events)/m.elapsed.Seconds())
			}
		}
	}
	var results []Result
	for i, v := range variants {
		results = append(results, merge(bench, v.name, v.callers, rounds[i]))
	}
	return results, nil
}

// call does one unit of work for a caller and returns how many events that was.
type call func(ctx context.Context) (events int64, err error)

// drive lets callers call for as long as duration says. Calls under way at the end are finished and counted, with their time.
// The first error ends the measurement.
func drive(ctx context.Context, duration time.Duration, callers []call) (measurement, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	start := time.Now()
	deadline := start.Add(duration)
	var lock sync.Mutex
	var total measurement
	var all sync.WaitGroup
	for _, work := range callers {
		all.Go(func() {
			var mine measurement
			for now := time.Now(); now.Before(deadline) && ctx.Err() == nil; {
				events, err := work(ctx)
				if err != nil {
					cancel(err)
					return
				}
				after := time.Now()
				mine.calls = append(mine.calls, after.Sub(now))
				mine.events += events
				now = after
			}
			lock.Lock()
			defer lock.Unlock()
			total.calls = append(total.calls, mine.calls...)
			total.events += mine.events
		})
	}
	all.Wait()
	total.elapsed = time.Since(start)
	if ctx.Err() != nil {
		return measurement{}, fmt.Errorf("measure: %w", context.Cause(ctx))
	}
	return total, nil
}
