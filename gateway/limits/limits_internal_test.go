package limits

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/archonhq/archon/internal/cache/cachetest"
)

// clock is a Redis whose time the test decides, and Limiters that use its time when it is away.
type clock struct {
	server *miniredis.Miniredis
	client *redis.Client
	now    time.Time
}

func newClock(tb testing.TB) *clock {
	tb.Helper()
	c := &clock{now: time.UnixMilli(1_800_000_000_123)}
	c.client, c.server = cachetest.InProcess(tb)
	c.pass(0)
	return c
}

func (c *clock) pass(d time.Duration) {
	c.now = c.now.Add(d)
	c.server.SetTime(c.now)
}

func (c *clock) limiter() *Limiter {
	l := New(c.client, Config{Now: func() time.Time { return c.now }})
	l.outage.Rest = time.Nanosecond
	return l
}

func take(tb testing.TB, l *Limiter, limits ...Limit) Verdict {
	tb.Helper()
	v, err := l.Take(tb.Context(), "acme", limits)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// taken is what was let through, and when.
type taken struct {
	at   time.Time
	cost int64
}

// most is the most that was let through in any Window.
func most(all []taken) (most int64) {
	for i, first := range all {
		var sum int64
		for _, one := range all[i:] {
			if one.at.Sub(first.at) <= Window {
				sum += one.cost
			}
		}
		most = max(most, sum)
	}
	return most
}

func TestNoWindowHasMoreThanTheLimitAndRetryAfterIsHonest(t *testing.T) {
	t.Parallel()
	for _, local := range []bool{false, true} {
		for seed := range uint64(15) {
			random := rand.New(rand.NewPCG(seed, 1))
			c := newClock(t)
			nodes := []*Limiter{c.limiter(), c.limiter()}
			if local {
				nodes = nodes[:1]
				nodes[0].outage.Rest = time.Hour
				c.server.Close()
			}
			per := 1 + random.Int64N(40)
			var all []taken
			refused := 0
			for range 300 {
				c.pass(time.Duration(random.Int64N(int64(3 * time.Second))))
				l := nodes[random.IntN(len(nodes))]
				limit := Limit{ID: "k", Kind: Tokens, PerMinute: per, Cost: 1 + random.Int64N(per)}
				v := take(t, l, limit)
				if v.Local != local || l.Degraded() != local {
					t.Fatalf("local: %v", v.Local)
				}
				if v.Allowed {
					all = append(all, taken{c.now, limit.Cost})
					continue
				}
				refused++
				if v.RetryAfter <= 0 || v.RetryAfter > Window+slotMS*time.Millisecond {
					t.Fatalf("retry after %s", v.RetryAfter)
				}
				if random.IntN(4) == 0 { // nobody else takes
					c.pass(v.RetryAfter)
					if again := take(t, l, limit); !again.Allowed {
						t.Fatalf("refused after %s too", v.RetryAfter)
					}
					all = append(all, taken{c.now, limit.Cost})
				}
			}
			if got := most(all); got > per {
				t.Fatalf("seed %d: %d in a minute, %d allowed", seed, got, per)
			}
			if refused == 0 || len(all) < 10 {
				t.Fatalf("seed %d tests nothing: %d refused, %d let through", seed, refused, len(all))
			}
		}
	}
}

// compare has two limiters do random things on a Redis and compares every verdict with those of windows in memory.
func compare(t *testing.T, client *redis.Client, seed uint64, pass func(ms int64)) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 2))
	nodes := []*Limiter{New(client, Config{}), New(client, Config{})}
	tenant := "t" + strconv.FormatUint(seed, 10)
	model := map[string]*window{"a": {}, "b": {}}
	var last Verdict
	for step := range 150 {
		pass(random.Int64N(4000))
		l := nodes[random.IntN(2)]
		if random.IntN(5) == 0 && last.Allowed {
			delta := random.Int64N(41) - 30
			l.Adjust(t.Context(), tenant, "a", last, delta)
			now := now(t, client)
			model["a"].adjust(now, last.At.UnixMilli(), delta)
			continue
		}
		limits := []Limit{
			{ID: "a", Kind: Tokens, PerMinute: 100, Cost: random.Int64N(30)},
			{ID: "b", Kind: Requests, PerMinute: 20, Cost: random.Int64N(3)},
		}
		got, err := l.Take(t.Context(), tenant, limits)
		if err != nil {
			t.Fatal(err)
		}
		at := got.At.UnixMilli()
		want := Verdict{Allowed: true}
		for _, limit := range limits {
			if wait := model[limit.ID].wait(at, limit.PerMinute, limit.Cost); time.Duration(wait)*time.Millisecond > want.RetryAfter {
				want = Verdict{Limit: limit.ID, RetryAfter: time.Duration(wait) * time.Millisecond}
			}
		}
		for i, limit := range limits {
			if want.Allowed {
				model[limit.ID].take(at, limit.Cost)
			}
			if remaining := max(0, limit.PerMinute-model[limit.ID].total); got.Levels[i].Remaining != remaining {
				t.Fatalf("seed %d, step %d: %d remain of %s, want %d", seed, step, got.Levels[i].Remaining, limit.ID, remaining)
			}
			if full := model[limit.ID].full(at); got.Levels[i].Reset.Milliseconds() < full {
				t.Fatalf("seed %d, step %d: full in %s, not in %d ms", seed, step, got.Levels[i].Reset, full)
			}
		}
		if got.Allowed != want.Allowed || got.Limit != want.Limit || got.RetryAfter != want.RetryAfter {
			t.Fatalf("seed %d, step %d:\ngot  %+v\nwant %+v", seed, step, got, want)
		}
		last = got
	}
}

func now(tb testing.TB, client *redis.Client) int64 {
	tb.Helper()
	at, err := client.Time(tb.Context()).Result()
	if err != nil {
		tb.Fatal(err)
	}
	return at.UnixMilli()
}

func TestTheScriptsAndTheWindowAreOne(t *testing.T) {
	t.Parallel()
	client := cachetest.Server(t)
	for seed := range uint64(20) {
		compare(t, client, seed, func(int64) {
			// An adjustment and the look at the clock after it should see the same slot.
			for now(t, client)%slotMS > slotMS-20 {
				<-time.After(5 * time.Millisecond)
			}
		})
	}
	for seed := range uint64(25) {
		c := newClock(t)
		compare(t, c.client, seed, func(ms int64) { c.pass(time.Duration(ms) * time.Millisecond) })
	}
}

func TestALimitIsSharedByConcurrentNodesAndTakenWhollyOrNotAtAll(t *testing.T) {
	t.Parallel()
	client := cachetest.Server(t)
	nodes := []*Limiter{New(client, Config{}), New(client, Config{})}
	var let atomic.Int64
	var group sync.WaitGroup
	for i := range 100 {
		group.Go(func() {
			v := take(t, nodes[i%2], Limit{ID: "wide", Kind: Requests, PerMinute: 1000, Cost: 1}, Limit{ID: "narrow", Kind: Tokens, PerMinute: 250, Cost: 10})
			if v.Allowed {
				let.Add(1)
			} else if v.Limit != "narrow" {
				t.Errorf("refused by %s", v.Limit)
			}
		})
	}
	group.Wait()
	if let.Load() != 25 {
		t.Errorf("%d calls were let through", let.Load())
	}
	if v := take(t, nodes[0], Limit{ID: "wide", Kind: Requests, PerMinute: 1000}); v.Levels[0].Remaining != 975 {
		t.Errorf("%d remain: who was refused by one limit took of another", v.Levels[0].Remaining)
	}
	if v := take(t, nodes[0], Limit{ID: "narrow", Kind: Tokens, PerMinute: 250, Cost: 251}); v.Allowed || !v.Never {
		t.Errorf("more than the limit: %+v", v)
	}
}

func TestANodeWithoutRedisBeginsAtWhatItHasTaken(t *testing.T) {
	t.Parallel()
	c := newClock(t)
	l := c.limiter()
	limit := Limit{ID: "k", Kind: Requests, PerMinute: 10, Cost: 4}
	take(t, l, limit)
	c.server.Close()
	if v := take(t, l, limit); !v.Allowed || !v.Local {
		t.Errorf("%+v", v)
	}
	if v := take(t, l, limit); v.Allowed {
		t.Error("12 of 10")
	}
	if err := c.server.Restart(); err != nil {
		t.Fatal(err)
	}
	c.pass(Window + time.Second)
	for l.Degraded() {
		take(t, l, Limit{ID: "k", Kind: Requests, PerMinute: 10})
	}
	if v := take(t, l, limit); v.Local || !v.Allowed || v.Levels[0].Remaining != 6 {
		t.Errorf("%+v", v)
	}
	remaining := 0
	l.local.Range(func(any, any) bool { remaining++; return true })
	if remaining != 1 {
		t.Errorf("%d counters are kept", remaining)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Take(gone, "acme", []Limit{limit}); !errors.Is(err, context.Canceled) || l.Degraded() {
		t.Errorf("a caller that has gone: %v", err)
	}
}

func ExampleHeaders() {
	h := Headers(Verdict{
		Limit: "key:1:requests", RetryAfter: 1250 * time.Millisecond,
		Levels: []Level{
			{Kind: Requests, PerMinute: 60, Remaining: 0, Reset: time.Minute},
			{Kind: Requests, PerMinute: 500, Remaining: 499, Reset: 120 * time.Millisecond},
			{Kind: Tokens, PerMinute: 150_000, Remaining: 149_984, Reset: 6 * time.Millisecond},
		},
	})
	for _, name := range []string{
		"x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests",
		"x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens", "retry-after", "retry-after-ms",
	} {
		fmt.Println(name+":", h.Get(name))
	}
	// Output:
	// x-ratelimit-limit-requests: 60
	// x-ratelimit-remaining-requests: 0
	// x-ratelimit-reset-requests: 1m0s
	// x-ratelimit-limit-tokens: 150000
	// x-ratelimit-remaining-tokens: 149984
	// x-ratelimit-reset-tokens: 6ms
	// retry-after: 2
	// retry-after-ms: 1250
}

func BenchmarkTake(b *testing.B) {
	l := New(cachetest.Server(b), Config{})
	limits := []Limit{{ID: "r", Kind: Requests, PerMinute: 1e9, Cost: 1}, {ID: "t", Kind: Tokens, PerMinute: 1e12, Cost: 900}}
	for b.Loop() {
		if v, err := l.Take(context.Background(), "acme", limits); err != nil || !v.Allowed {
			b.Fatal(v, err)
		}
	}
}
