package budget

import (
	"context"
	"sync"
	"time"
)

const (
	// youth is for how long after a node first heard of a level there may be nodes that have not: they know of a new budget
	// within a second, and their clocks need not agree.
	youth = 2 * time.Second
	// raises is how often a node tries to have the ledger's sum where calls are settled all the time.
	raises = 5
	// maxYoung bounds the memory; past it every level is taken for young once more.
	maxYoung = 100_000
)

// nursery knows the generations of levels that a node has heard of only just now. Calls that began before, here or on a node that had not heard of
// the level, have nothing reserved on it, and some are settled without it. So as long as it is young the ledger is asked before
// each reservation, and once more after that. From then on every settlement knows of it.
type nursery struct {
	now func() time.Time

	mu     sync.Mutex
	levels map[string]*infant
	// born is when the node first heard of a generation.
	born map[string]time.Time
}

type infant struct {
	since time.Time
	// asking holds a token while nobody asks the ledger.
	asking chan struct{}
	// asked is when the last question began that was answered. It belongs to whoever has the token.
	asked time.Time
	grown bool // under the nursery's lock
}

// raise asks the ledger for what may be missing on those of the levels that are young.
func (n *nursery) raise(ctx context.Context, b *Budgets, tenant string, levels []Level) error {
	for i := range levels {
		if levels[i].Generation == "" {
			continue
		}
		child, grown := n.find(tenant, &levels[i])
		if grown {
			continue
		}
		if err := n.ask(ctx, b, tenant, levels[i], child); err != nil {
			return err
		}
	}
	return nil
}

// find is what is known of a level's generation. A level that began when the node had known the generation for a while never was young:
// with it all nodes have known since before there was a call to count in it. So nothing is asked when a month begins.
func (n *nursery) find(tenant string, level *Level) (child *infant, grown bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.levels == nil || len(n.levels)+len(n.born) >= maxYoung {
		n.levels, n.born = map[string]*infant{}, map[string]time.Time{}
	}
	generation := tenant + "\x00" + level.Generation
	born, found := n.born[generation]
	if !found {
		born = n.now()
		n.born[generation] = born
	}
	if level.Began.Sub(born) > youth {
		return nil, true
	}
	key := generation + "\x00" + level.ID
	child, found = n.levels[key]
	if !found {
		child = &infant{since: n.now(), asking: make(chan struct{}, 1)}
		child.asking <- struct{}{}
		n.levels[key] = child
	}
	return child, child.grown
}

// ask reconciles a level, unless somebody has since this was called.
func (n *nursery) ask(ctx context.Context, b *Budgets, tenant string, level Level, child *infant) error {
	arrived := n.now()
	select {
	case <-child.asking:
	case <-ctx.Done():
		return context.Cause(ctx) //nolint:wrapcheck // wrapped by Reserve
	}
	defer func() { child.asking <- struct{}{} }()
	for range raises {
		if child.asked.After(arrived) {
			return nil
		}
		began := n.now()
		done, err := b.Reconcile(ctx, tenant, level)
		if err != nil {
			return err
		}
		if !done {
			continue // what is settled on the level is counted there, and what is not is asked for by the next one
		}
		child.asked = began
		if began.Sub(child.since) > youth {
			n.mu.Lock()
			child.grown = true
			n.mu.Unlock()
		}
		return nil
	}
	return nil
}
