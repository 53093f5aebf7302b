package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Defaults of GatewayConfig, which the targets are defined for.
const (
	defaultGatewayRound = 5 * time.Second
	defaultStreams      = 1000
)

// gatewayRates are the loads of the open loop, in requests a second.
var gatewayRates = []int{500, 1500} //nolint:gochecknoglobals // a constant list

// GatewayConfig says how to measure the data plane. Executable, Environ and Out are required.
type GatewayConfig struct {
	// Executable is Archon's program, Environ the environment that its children start from.
	Executable string
	Environ    []string
	// Out gets the results, Progress, where set, a line after each measurement; JSON makes results one object a line.
	Out, Progress io.Writer
	JSON          bool
	// Rounds is how often each load is measured; 0 means 5.
	Rounds int
	// Duration is the length of one measurement; 0 means 5 s.
	Duration time.Duration
	// Streams is how many streams are open at once; 0 means 1000.
	Streams int
}

// Gateway measures calls through a child Archon that runs as `archon dev`, in a data folder that is removed afterwards,
// beside the same calls to the upstream itself. This process is both the upstream, which answers at once, and the client. In
// both variants the key is checked and has a rate limit and a budget, rules decide, and breaker and limits of the provider
// are asked:
//
//	full: the call is durably recorded before the last byte of its answer (ARCHON_CALL_RECORDING=durable, the default)
//	bare: it is recorded after the answer (async)
func Gateway(ctx context.Context, config GatewayConfig) (err error) {
	config.Rounds = cmp.Or(config.Rounds, defaultRounds)
	config.Duration = cmp.Or(config.Duration, defaultGatewayRound)
	config.Streams = cmp.Or(config.Streams, defaultStreams)
	upstream, err := startUpstream(ctx)
	if err != nil {
		return err
	}
	defer upstream.close()
	place, err := newPlace(ctx, config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, place.remove()) }()

	full, key, environment, err := config.full(ctx, place, upstream)
	if err != nil {
		return err
	}
	bare, err := config.bare(ctx, place, upstream, key)
	if err != nil {
		return err
	}
	return config.write(environment, append(full, bare...))
}

// full measures everything of a child that records durably, and makes the key that the other variant uses too.
func (c GatewayConfig) full(ctx context.Context, place *place, upstream *upstream) (results []GatewayResult, key string, environment Environment, err error) {
	child, err := place.start(ctx, "durable")
	if err != nil {
		return nil, "", environment, err
	}
	defer func() { err = errors.Join(err, child.stop()) }()
	if environment, err = c.environment(ctx, place); err != nil {
		return nil, "", environment, err
	}
	if key, err = setUp(ctx, child, upstream.addr()); err != nil {
		return nil, "", environment, err
	}
	upstreamOnly := target{variant: "upstream", addr: upstream.addr(), key: key}
	archon := target{variant: "full", addr: child.addr, key: key, process: child.process()}
	if results, err = c.paired(ctx, upstreamOnly, archon); err != nil {
		return nil, "", environment, err
	}
	loads, err := c.openLoops(ctx, upstreamOnly, archon)
	if err != nil {
		return nil, "", environment, err
	}
	streams, err := c.streams(ctx, upstream, upstreamOnly, archon)
	return append(append(results, loads...), streams...), key, environment, err
}

// bare measures what one call at a time gains from being recorded after its answer.
func (c GatewayConfig) bare(ctx context.Context, place *place, upstream *upstream, key string) (results []GatewayResult, err error) {
	child, err := place.start(ctx, "async")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, child.stop()) }()
	return c.paired(ctx, target{variant: "upstream", addr: upstream.addr(), key: key}, target{variant: "bare", addr: child.addr, key: key})
}

func (c GatewayConfig) environment(ctx context.Context, place *place) (Environment, error) {
	dsn, err := place.run(ctx, "dsn", "--owner")
	if err != nil {
		return Environment{}, err
	}
	environment, err := describe(ctx, dsn)
	environment.Rounds, environment.Seconds, environment.Load = c.Rounds, c.Duration.Seconds(), loadAverage()
	return environment, err
}

func (c GatewayConfig) reportf(format string, args ...any) {
	if c.Progress != nil {
		fmt.Fprintf(c.Progress, format+"\n", args...)
	}
}

// target is somebody to call.
type target struct {
	variant, addr, key string
	// process is the one whose memory and processor time is measured; nil for none.
	process *process
}
