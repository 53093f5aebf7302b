package projections

import (
	"context"
	"fmt"
	"time"
)

// roundTimeout bounds a round that a waiter has begun; it goes on where the waiter has gone, for the others that wait.
const roundTimeout = 30 * time.Second

// Wait returns once every one of the projections, all where none is named, shows the tenant's events up to position, so
// that who wrote them reads them. Where nobody is projecting, it does so itself, also on a node where Run does not run. Where
// another version of a projection serves the tenant, it is that one's rows that have to show them.
// It fails with ErrLagging when ctx ends first, with ErrHalted at once where a projection has stopped for the tenant, and
// with ErrUnknownProjection.
func (r *Runner) Wait(ctx context.Context, tenant string, position int64, projections ...string) error {
	wanted := r.projections
	if len(projections) > 0 {
		_, _, byName := r.registered()
		wanted = make([]*projection, 0, len(projections))
		for _, name := range projections {
			p, found := byName[name]
			if !found {
				return fmt.Errorf("%w: %s", ErrUnknownProjection, name)
			}
			wanted = append(wanted, p)
		}
	}
	return r.waitForAll(ctx, tenant, position, wanted)
}

// waitForAll waits for the projections at the same time, since each may take a round of its own.
func (r *Runner) waitForAll(ctx context.Context, tenant string, position int64, wanted []*projection) error {
	var behind []key
	for _, p := range wanted {
		if k := (key{projection: p, tenant: tenant}); r.agenda.position(k) < position {
			behind = append(behind, k)
		}
	}
	switch len(behind) {
	case 0:
		return nil
	case 1:
		return r.waitFor(ctx, behind[0], position)
	}
	errs := make(chan error, len(behind))
	for _, k := range behind {
		go func() { errs <- r.waitFor(ctx, k, position) }()
	}
	var first error
	for range behind {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}

func (r *Runner) waitFor(ctx context.Context, k key, position int64) error {
	for tries := 0; ; tries++ {
		ended, err := r.attend(ctx, k, position)
		if err != nil || r.agenda.position(k) >= position {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("wait for %s: %w: it is at position %d, not yet at %d", k.projection.name, ErrLagging, r.agenda.position(k), position)
		}
		if ended != unfinished {
			wait(ctx, patience(tries))
		}
	}
}

// patience is how long to leave it to another node, or to a database that is away, before looking again.
func patience(tries int) time.Duration {
	const first, longest, doublings = 2 * time.Millisecond, 50 * time.Millisecond, 5
	return jittered(min(first<<min(tries, doublings), longest))
}

// attend takes part in a round of the key: the one that is running, or one that it begins.
func (r *Runner) attend(ctx context.Context, k key, position int64) (ending, error) {
	one, ended, begun := r.agenda.begin(k)
	defer r.agenda.leave(one)
	if begun {
		go r.project(context.WithoutCancel(ctx), k, one, position)
	}
	select {
	case <-ctx.Done():
		return busy, nil
	case <-ended:
	}
	got := r.agenda.lastOf(one)
	if got.end == halted {
		return halted, fmt.Errorf("wait for %s: %w", k.projection.name, got.why)
	}
	if !begun {
		return unfinished, nil // it may have looked before the awaited event was there
	}
	return got.end, nil
}

// project is a round that a waiter has begun.
func (r *Runner) project(ctx context.Context, k key, one *entry, position int64) {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	got, err := r.serve(ctx, k, one, func() bool { return r.agenda.position(k) >= position })
	if err != nil {
		r.complain(ctx, k, err)
	}
	if got.end == unfinished {
		r.agenda.again(one)
	}
	if err != nil {
		got.end = busy // to be tried again, but not at once
	}
	r.agenda.end(k, one, got)
}
