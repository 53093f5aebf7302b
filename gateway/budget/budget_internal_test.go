package budget

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/archonhq/archon/domain/keys"
	"github.com/archonhq/archon/internal/cache/cachetest"
)

// log is a ledger: what calls cost, by position from 1.
type log struct {
	mu    sync.Mutex
	costs []Amount
}

func (l *log) record(cost Amount) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.costs = append(l.costs, cost)
	return int64(len(l.costs))
}

func (l *log) Base(context.Context) (spent Amount, position int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, cost := range l.costs {
		spent += cost
	}
	return spent, int64(len(l.costs)), nil
}

func (l *log) level(id string, limit Amount) Level { return Level{ID: id, Limit: limit, Base: l.Base} }

func numbers(tb testing.TB, client *redis.Client, level string) (spent, held Amount) {
	tb.Helper()
	got := client.HMGet(tb.Context(), Key("acme", level), "spent", "held").Val()
	if got[0] == nil {
		return 0, 0
	}
	return Amount(number(got[0].(string))), Amount(number(got[1].(string)))
}

func TestTwoHundredCallersDoNotOverspendAnAlmostEmptyBudget(t *testing.T) {
	t.Parallel()
	for name, client := range map[string]*redis.Client{"redis": cachetest.Server(t), "in process": func() *redis.Client { c, _ := cachetest.InProcess(t); return c }()} {
		var l log
		l.record(MaxAmount - 1000) // counters are exact at this end too
		nodes := []*Budgets{New(client, nil), New(client, nil)}
		var let atomic.Int64
		var group sync.WaitGroup
		for i := range 200 {
			group.Go(func() {
				r, err := nodes[i%2].Reserve(t.Context(), "acme", []Level{l.level("key:1", MaxAmount), l.level("tenant", MaxAmount)}, 99)
				if _, is := errors.AsType[*Exceeded](err); is {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				let.Add(1)
				if _, err := nodes[i%2].Settle(t.Context(), r, 99, l.record(99)); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if spent, held := numbers(t, client, "key:1"); let.Load() != 10 || spent != MaxAmount-10 || held != 0 {
			t.Errorf("%s: %d calls, spent %d, held %d", name, let.Load(), MaxAmount-spent, held)
		}
	}
}

// TestNoInterleavingExceedsTheLimit has calls be reserved, recorded, settled, settled twice, left by a crash, and lapse,
// and the counters rebuilt and reconciled, in any order.
func TestNoInterleavingExceedsTheLimit(t *testing.T) {
	t.Parallel()
	type call struct {
		Reservation
		amount, cost Amount
		position     int64
	}
	client, server := cachetest.InProcess(t)
	now := time.UnixMilli(1_800_000_000_000)
	for seed := range uint64(60) {
		server.FlushAll()
		random := rand.New(rand.NewPCG(seed, 3))
		b, l, limit := New(client, nil), &log{}, Amount(1000)
		level := l.level("key:1", limit)
		var open []call
		crashed, refused := 0, 0
		for step := range 300 {
			now = now.Add(time.Millisecond)
			server.SetTime(now)
			i := 0
			if len(open) > 0 {
				i = random.IntN(len(open))
			}
			switch what := random.IntN(12); {
			case what < 5:
				c := call{amount: Amount(random.Int64N(200))}
				var err error
				var exceeded *Exceeded
				if c.Reservation, err = b.Reserve(t.Context(), "acme", []Level{level}, c.amount); err == nil {
					c.cost = Amount(random.Int64N(int64(c.amount) + 1))
					if random.IntN(10) > 0 {
						c.cost /= 20
					}
					open = append(open, c)
				} else if refused++; !errors.As(err, &exceeded) {
					t.Fatal(err)
				}
			case what < 8 && len(open) > 0: // recorded, then settled or crashed in between
				c := open[i]
				open = append(open[:i], open[i+1:]...)
				c.position = l.record(c.cost)
				if random.IntN(4) == 0 {
					crashed++
					continue
				}
				for range 1 + random.IntN(2) {
					if _, err := b.Settle(t.Context(), c.Reservation, c.cost, c.position); err != nil {
						t.Fatal(err)
					}
				}
			case what == 8 && len(open) > 0 && random.IntN(3) == 0: // crashed before
				open = append(open[:i], open[i+1:]...)
				crashed++
			case what == 9 && random.IntN(5) == 0: // all that is open lapses: no call takes that long, so its processes are gone
				crashed, open = crashed+len(open), nil
				now = now.Add(Hold)
				server.SetTime(now)
			case what == 10 && len(open) == 0: // lost: nothing is on its way
				server.FlushAll()
			case what == 11 && random.IntN(5) == 0:
				if _, err := b.Reconcile(t.Context(), "acme", level); err != nil {
					t.Fatal(err)
				}
			}
			// The counters may count a call twice between its record and its settlement, never less than once.
			spent, held := numbers(t, client, "key:1")
			truth, _, _ := l.Base(t.Context())
			promised := truth
			for _, c := range open {
				promised += c.amount
			}
			if promised > limit || (server.Exists(Key("acme", "key:1")) && spent+held < promised) {
				t.Fatalf("seed %d, step %d: spent %d + held %d, truly %d and %d promised", seed, step, spent, held, truth, promised)
			}
		}
		if crashed == 0 || refused == 0 {
			t.Errorf("seed %d tests nothing: %d crashed, %d refused", seed, crashed, refused)
		}
	}
}

func TestWhatLapsedCountsInFullUntilTheLedgerSaysOtherwise(t *testing.T) {
	t.Parallel()
	client := cachetest.Server(t)
	b, l := New(client, nil), &log{}
	b.hold = 5 * time.Millisecond
	level := l.level("key:1", 100)
	late, err := b.Reserve(t.Context(), "acme", []Level{level}, 60)
	if err != nil {
		t.Fatal(err)
	}
	<-time.After(20 * time.Millisecond)
	if _, err := b.Reserve(t.Context(), "acme", []Level{level}, 40); err != nil {
		t.Fatal(err)
	}
	if spent, _ := numbers(t, client, "key:1"); spent != 60 {
		t.Errorf("%d are spent: a lapsed reservation was refunded", spent)
	}
	<-time.After(20 * time.Millisecond)
	l.record(1)
	if _, err := b.Reserve(t.Context(), "acme", []Level{level}, 90); err != nil {
		t.Errorf("the ledger was not asked: %v", err)
	}
	if _, err := b.Settle(t.Context(), late, 7, l.record(7)); err != nil {
		t.Fatal(err)
	}
	<-time.After(20 * time.Millisecond)
	_, err = b.Reserve(t.Context(), "acme", []Level{level}, 93)
	var exceeded *Exceeded
	if !errors.As(err, &exceeded) || exceeded.Spent != 8 || exceeded.Limit != 100 || exceeded.Level != "key:1" {
		t.Errorf("what was settled late does not count: %v", err)
	}
}

func TestTheLedgerAndTheCountersCountNoCallTwiceAndForgetNone(t *testing.T) {
	t.Parallel()
	client := cachetest.Server(t)
	b, l := New(client, nil), &log{}
	level := l.level("key:1", 100)
	r, err := b.Reserve(t.Context(), "acme", []Level{level}, 50)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.reserve(t.Context(), &r, 50, false); err != nil {
		t.Fatalf("sent again: %v", err)
	}
	if _, held := numbers(t, client, "key:1"); held != 50 {
		t.Errorf("sent again, and %d are held", held)
	}
	position := l.record(30)
	if _, err := b.Reconcile(t.Context(), "acme", level); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Settle(t.Context(), r, 30, position); err != nil {
		t.Fatal(err)
	}
	if spent, held := numbers(t, client, "key:1"); spent != 30 || held != 0 {
		t.Errorf("in the ledger before it was settled: spent %d, held %d", spent, held)
	}
	if r, err = b.Reserve(t.Context(), "acme", []Level{level}, 50); err != nil {
		t.Fatal(err)
	}
	stale, at, err := l.Base(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Settle(t.Context(), r, 5, l.record(5)); err != nil {
		t.Fatal(err)
	}
	level.Base = func(context.Context) (Amount, int64, error) { return stale, at, nil }
	if _, err := b.Reconcile(t.Context(), "acme", level); err != nil {
		t.Fatal(err)
	}
	if spent, _ := numbers(t, client, "key:1"); spent != 35 {
		t.Errorf("a ledger's sum from before the settlement: spent %d", spent)
	}
}

func TestTheLargestBudgetOfAKeyIsHeldToTheNanoUSD(t *testing.T) {
	t.Parallel()
	b, l := New(cachetest.Server(t), nil), &log{}
	level := l.level("key:1", Amount(keys.MaxBudgetNanoUSD))
	r, err := b.Reserve(t.Context(), "acme", []Level{level}, level.Limit-1)
	if err != nil {
		t.Fatal(err)
	}
	var exceeded *Exceeded
	if _, err := b.Reserve(t.Context(), "acme", []Level{level}, 2); !errors.As(err, &exceeded) || exceeded.Held != level.Limit-1 {
		t.Errorf("a nano-USD too much: got %v", err)
	}
	if _, err := b.Settle(t.Context(), r, level.Limit-1, l.record(level.Limit-1)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Reserve(t.Context(), "acme", []Level{level}, 1); err != nil {
		t.Errorf("the last nano-USD: got %v", err)
	}
}

func TestWithoutRedisWhatBlocksIsClosedAndWhatWarnsIsOpen(t *testing.T) {
	t.Parallel()
	client, server := cachetest.InProcess(t)
	b, l := New(client, nil), &log{}
	warns := l.level("tenant", 10)
	warns.WarnOnly = true
	r, err := b.Reserve(t.Context(), "acme", []Level{warns, l.level("key:1", 100)}, 50)
	if err != nil || len(r.Over) != 1 || r.Over[0] != "tenant" {
		t.Errorf("%v, %v", r.Over, err)
	}
	if _, err := b.Reserve(t.Context(), "acme", []Level{l.level("k", MaxAmount+1)}, 1); !errors.Is(err, ErrAmount) {
		t.Error(err)
	}
	server.Close()
	if _, err := b.Reserve(t.Context(), "acme", []Level{warns, l.level("key:1", 100)}, 1); !errors.Is(err, ErrUnavailable) {
		t.Error(err)
	}
	if r, err := b.Reserve(t.Context(), "acme", []Level{warns}, 1); err != nil || !r.Unchecked {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := b.Settle(t.Context(), r, 1, 1); err == nil {
		t.Error("a settlement that was lost says nothing")
	}
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Settle(t.Context(), r, 1, l.record(1)); err != nil {
		t.Errorf("it can't be tried again: %v", err)
	}
	if spent, held := numbers(t, client, "key:1"); spent != 1 || held != 0 {
		t.Errorf("spent %d, held %d", spent, held)
	}
	if FromE10(11) != 2 || FromE10(10) != 1 || Amount(NanoPerUSD+1).String() != "1.000000001 USD" {
		t.Error("amounts")
	}
}

func BenchmarkReserveSettle(b *testing.B) {
	budgets, l := New(cachetest.Server(b), nil), &log{}
	levels := []Level{l.level("key:1", MaxAmount), l.level("tenant", MaxAmount)}
	for b.Loop() {
		r, err := budgets.Reserve(context.Background(), "acme", levels, 10)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := budgets.Settle(context.Background(), r, 1, 0); err != nil {
			b.Fatal(err)
		}
	}
}
