package budget

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/archonhq/archon/internal/cache/cachetest"
)

// books is a ledger of several levels: what calls cost, by position, and which levels they count in.
type books struct {
	costs  []Amount
	levels [][]string
}

func (b *books) record(cost Amount, levels []string) int64 {
	b.costs, b.levels = append(b.costs, cost), append(b.levels, levels)
	return int64(len(b.costs))
}

func (b *books) spent(level string) (sum Amount) {
	for i, cost := range b.costs {
		if slices.Contains(b.levels[i], level) {
			sum += cost
		}
	}
	return sum
}

func (b *books) level(id string, limit Amount) Level {
	return Level{ID: id, Limit: limit, Generation: "1", Base: func(context.Context) (Amount, int64, error) {
		return b.spent(id), int64(len(b.costs)), nil
	}}
}

// TestNoInterleavingExceedsTheLimitOfAnyLevel has calls of two keys and departments be reserved on all their levels through two nodes, in
// periods that follow each other while calls are under way, with budgets that come and go and nodes that hear of it late, and has
// them be recorded, settled, settled twice, left by crashes, and lapse, and the counters be lost and reconciled, in any order. Whenever a
// call is let through, what was spent and what is promised fit into every level together.
func TestNoInterleavingExceedsTheLimitOfAnyLevel(t *testing.T) {
	t.Parallel()
	type call struct {
		Reservation
		amount  Amount
		counts  []string // the levels that it counts in, with or without a budget
		node    int
		reserve []string // those that it is reserved on
	}
	client, server := cachetest.InProcess(t)
	let, refused, joined, crashed := 0, 0, 0, 0
	for seed := range uint64(25) {
		server.FlushAll()
		now := time.UnixMilli(1_800_000_000_000)
		random := rand.New(rand.NewPCG(seed, 4))
		l := &books{}
		nodes := []*Budgets{New(client, nil), New(client, nil)}
		for _, node := range nodes {
			node.young.now = func() time.Time { return now }
		}
		limits := map[string]Amount{"tenant": 1500, "department-0": 900, "department-1": 700, "key-0": 500, "key-1": 800}
		// known is what each node takes to have a budget; a change reaches the other node within youth.
		// An odd generation is one that is there.
		known := []map[string]int{{"tenant": 1, "key-0": 1}, {"tenant": 1, "key-0": 1}}
		late := map[string]time.Time{}
		period, began := 0, now
		levelsOf := func(node int, counts []string) (levels []Level, ids []string) {
			for _, id := range counts {
				kind := id[:len(id)-2]
				if generation := known[node][kind]; generation%2 == 1 {
					level := l.level(id, limits[kind])
					level.Generation, level.Began = kind+strconv.Itoa(generation), began
					levels, ids = append(levels, level), append(ids, id)
				}
			}
			return levels, ids
		}
		var open []call
		for step := range 400 {
			now = now.Add(time.Duration(1+random.IntN(40)) * time.Millisecond)
			server.SetTime(now)
			for kind, at := range late {
				if now.Sub(at) > youth/2 {
					known[1][kind] = known[0][kind]
					delete(late, kind)
				}
			}
			i := 0
			if len(open) > 0 {
				i = random.IntN(len(open))
			}
			switch what := random.IntN(16); {
			case what < 7:
				owner, suffix := string(rune('0'+random.IntN(2))), "@"+string(rune('0'+period%10))
				c := call{node: random.IntN(2), amount: Amount(1 + random.Int64N(150)), counts: []string{"tenant" + suffix, "department-" + owner + suffix, "key-" + owner + suffix}}
				var levels []Level
				levels, c.reserve = levelsOf(c.node, c.counts)
				var err error
				if c.Reservation, err = nodes[c.node].Reserve(t.Context(), "acme", levels, c.amount); err != nil {
					var exceeded *Exceeded
					if refused++; !errors.As(err, &exceeded) {
						t.Fatal(err)
					}
					break
				}
				let++
				open = append(open, c)
				for _, level := range levels {
					if kind := level.ID[:len(level.ID)-2]; known[c.node][kind] != known[0][kind] {
						continue // the budget that this node goes by for another moment has ended
					}
					promised := l.spent(level.ID)
					for _, other := range open {
						if slices.Contains(other.reserve, level.ID) {
							promised += other.amount
						}
					}
					if promised > level.Limit {
						t.Fatalf("seed %d, step %d: %d of %d are spent and promised on %s", seed, step, promised, level.Limit, level.ID)
					}
				}
			case what < 11 && len(open) > 0: // recorded, then settled or crashed in between
				c := open[i]
				open = append(open[:i], open[i+1:]...)
				cost := Amount(random.Int64N(int64(c.amount) + 1))
				position := l.record(cost, c.counts)
				if random.IntN(6) == 0 && len(c.reserve) == len(c.counts) {
					crashed++
					break
				}
				var also []Level
				levels, ids := levelsOf(c.node, c.counts)
				for j, id := range ids {
					if !slices.Contains(c.reserve, id) {
						also = append(also, levels[j])
						joined++
					}
				}
				for range 1 + random.IntN(2) {
					if _, err := nodes[c.node].Settle(t.Context(), c.Reservation, cost, position, also...); err != nil {
						t.Fatal(err)
					}
				}
			case what == 11 && random.IntN(3) == 0: // a budget comes to be, or goes
				kinds := []string{"department-0", "department-1", "key-1"}
				kind := kinds[random.IntN(len(kinds))]
				known[0][kind]++
				if _, found := late[kind]; !found {
					late[kind] = now
				}
			case what == 12 && random.IntN(4) == 0: // the next period begins
				period, began = period+1, now
			case what == 13 && random.IntN(8) == 0: // all that is open lapses: no call takes that long, so its processes are gone
				crashed, open = crashed+len(open), nil
				now = now.Add(Hold)
				server.SetTime(now)
			case what == 14 && len(open) == 0: // lost: nothing is on its way
				server.FlushAll()
			case what == 15:
				for id, limit := range limits {
					if _, err := nodes[0].Reconcile(t.Context(), "acme", l.level(id+"@"+string(rune('0'+period%10)), limit)); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
	const enough = 100
	if let < enough || refused < enough || joined < enough || crashed < enough {
		t.Errorf("this tests nothing: %d let through, %d refused, %d joined, %d crashed", let, refused, joined, crashed)
	}
}

// TestALevelIsYoungUntilEveryNodeKnowsIt has a node settle a call without a level that it has not heard of.
func TestALevelIsYoungUntilEveryNodeKnowsIt(t *testing.T) {
	t.Parallel()
	client, _ := cachetest.InProcess(t)
	l, now := &books{}, time.UnixMilli(1_800_000_000_000)
	b := New(client, nil)
	b.young.now = func() time.Time { return now }
	level := l.level("department", 100)
	reserve := func(amount Amount) error {
		r, err := b.Reserve(t.Context(), "acme", []Level{level}, amount)
		if err == nil {
			_, err = b.Settle(t.Context(), r, 0, 0)
		}
		return err
	}
	if err := reserve(100); err != nil {
		t.Fatal(err)
	}
	l.record(60, []string{"department"}) // by a node that did not know
	now = now.Add(time.Second)
	var exceeded *Exceeded
	if err := reserve(50); !errors.As(err, &exceeded) || exceeded.Spent != 60 {
		t.Errorf("what was settled elsewhere while the level was young: %v", err)
	}
	l.record(20, []string{"department"})
	now = now.Add(youth)
	if err := reserve(30); !errors.As(err, &exceeded) || exceeded.Spent != 80 {
		t.Errorf("the last of it: %v", err)
	}
	asked := 0
	base := level.Base
	level.Base = func(ctx context.Context) (Amount, int64, error) { asked++; return base(ctx) }
	for range 3 {
		now = now.Add(time.Second)
		if err := reserve(1); err != nil || asked > 0 {
			t.Errorf("a level that is not young any more: %v, asked %d times", err, asked)
		}
	}
	level.ID, level.Began = "department, the next period", now
	for range 3 {
		if err := reserve(1); err != nil || asked != 1 {
			t.Errorf("the next period of what all nodes know: %v, asked %d times", err, asked)
		}
	}
}

// TestWhatCameToBeOnTheWayCountsOnce settles a call on a level that it was not reserved on.
func TestWhatCameToBeOnTheWayCountsOnce(t *testing.T) {
	t.Parallel()
	client, _ := cachetest.InProcess(t)
	b, l := New(client, nil), &books{}
	late := l.level("late", 100)
	late.Generation = ""
	begin := func() Reservation {
		r, err := b.Reserve(t.Context(), "acme", nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := begin()
	position := l.record(7, []string{"late"})
	if spent, err := b.Settle(t.Context(), r, 7, position, late); err != nil || len(spent) != 0 {
		t.Errorf("a level that nobody has asked for yet: %v, %v", spent, err)
	}
	if _, err := b.Reserve(t.Context(), "acme", []Level{late}, 1); err != nil {
		t.Fatal(err)
	}
	r = begin()
	position = l.record(5, []string{"late"})
	for range 2 { // the client sends it again where it had no answer
		spent, err := b.Settle(t.Context(), r, 5, position, late)
		if err != nil || len(spent) != 1 || spent[0] != (Spending{"late", 12}) {
			t.Errorf("%v, %v", spent, err)
		}
		r.settled.Store(false)
	}
	if done, err := b.Reconcile(t.Context(), "acme", late); err != nil || !done {
		t.Fatal(done, err)
	}
	if spent, held := numbers(t, client, "late"); spent != 12 || held != 1 {
		t.Errorf("spent %d, held %d", spent, held)
	}
	if fields := client.HLen(t.Context(), Key("acme", "late")).Val(); fields != 8 {
		t.Errorf("%d fields are left: %v", fields, client.HGetAll(t.Context(), Key("acme", "late")).Val())
	}
}

// TestWhatIsSpentIsSaidOnlyWhereItIsKnown since a reservation that lapsed counts in full, and nobody is to be alarmed by that.
func TestWhatIsSpentIsSaidOnlyWhereItIsKnown(t *testing.T) {
	t.Parallel()
	client, server := cachetest.InProcess(t)
	b, l := New(client, nil), &books{}
	level := l.level("key", 100)
	level.Generation = ""
	begin := func(amount Amount) Reservation {
		r, err := b.Reserve(t.Context(), "acme", []Level{level}, amount)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	now := time.UnixMilli(1_800_000_000_000)
	server.SetTime(now)
	begin(90)
	server.SetTime(now.Add(Hold))
	if spent, err := b.Settle(t.Context(), begin(1), 1, l.record(1, []string{"key"})); err != nil || len(spent) != 0 {
		t.Errorf("%v, %v", spent, err)
	}
	if done, err := b.Reconcile(t.Context(), "acme", level); err != nil || !done {
		t.Fatal(done, err)
	}
	if spent, err := b.Settle(t.Context(), begin(1), 1, l.record(1, []string{"key"})); err != nil || len(spent) != 1 || spent[0].Spent != 2 {
		t.Errorf("%v, %v", spent, err)
	}
}
