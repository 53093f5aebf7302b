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
		child, grown := n.find(Key(tenant, levels[i].ID) + "\x00" + levels[i].Generation)
		if grown {
			continue
		}
		if err := n.ask(ctx, b, tenant, levels[i], child); err != nil {
			return err
		}
	}
	return nil
}

func (n *nursery) find(key string) (child *infant, grown bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	child, found := n.levels[key]
	if !found {
		if n.levels == nil || len(n.levels) >= maxYoung {
			n.levels = map[string]*infant{}
		}
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
