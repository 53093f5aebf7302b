package breaker

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/archonhq/archon/internal/cache/cachetest"
)

var usual = Settings{FailureThreshold: 3, Cooldown: 10 * time.Second, HalfOpenMax: 2}

// node is a node's breakers with what it was told.
type node struct {
	*Breakers
	mu   sync.Mutex
	told []string
}

func newNode(tb testing.TB, client *redis.Client) *node {
	tb.Helper()
	n := &node{}
	n.Breakers = New(client, Config{OnTransition: func(c Transition) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.told = append(n.told, c.From+">"+c.To+" "+c.Reason)
	}})
	n.outage.Rest = time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = n.Run(ctx)
	}()
	tb.Cleanup(func() { cancel(); <-ended })
	return n
}

func (n *node) last() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.told) == 0 {
		return ""
	}
	return n.told[len(n.told)-1]
}

// call makes one call; blocked is the state that kept it away.
func (n *node) call(tb testing.TB, r Result) (blocked string) {
	tb.Helper()
	permit, err := n.Admit(tb.Context(), "acme", "p", usual)
	if tripped, is := errors.AsType[*Tripped](err); is {
		if tripped.RetryAfter <= 0 {
			tb.Errorf("retry after %s", tripped.RetryAfter)
		}
		return tripped.State
	}
	if err != nil {
		tb.Fatal(err)
	}
	permit.Done(tb.Context(), r)
	return ""
}

// until waits for something that another goroutine brings about.
func until(tb testing.TB, what string, met func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(10 * time.Second); !met(); <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatal("never: " + what)
		}
	}
}

func TestTwoNodesWasteNoMoreThanOneAttemptBeyondTheThreshold(t *testing.T) {
	t.Parallel()
	client := cachetest.Server(t)
	a, b := newNode(t, client), newNode(t, client)
	wasted := 0
	for range 20 {
		for _, n := range []*node{a, b} {
			if n.call(t, Failure{Code: "server_error"}) == "" {
				wasted++
			}
		}
	}
	if wasted < usual.FailureThreshold || wasted > usual.FailureThreshold+1 {
		t.Errorf("%d attempts", wasted)
	}
	if a.Peek("acme", "p").State != Open || b.Peek("acme", "p").State != Open {
		t.Error("a node does not know")
	}
}

func TestConcurrentCallersWasteTheThresholdAndWhatWasOnItsWay(t *testing.T) {
	t.Parallel()
	const callers = 16
	n := newNode(t, cachetest.Server(t))
	var wasted atomic.Int64
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			for range 50 {
				if n.call(t, Failure{Code: "timeout"}) == "" {
					wasted.Add(1)
				}
			}
		})
	}
	group.Wait()
	if got := wasted.Load(); got > int64(usual.FailureThreshold+callers) {
		t.Errorf("%d attempts", got)
	}
}

func TestNoCallWhileClosedAsksRedis(t *testing.T) {
	t.Parallel()
	client, server := cachetest.InProcess(t)
	n := newNode(t, client)
	n.call(t, Success{})
	before := server.CommandCount()
	for range 100 {
		n.call(t, Success{})
		n.call(t, Neutral{})
	}
	if after := server.CommandCount(); after != before {
		t.Errorf("%d commands", after-before)
	}
}

func TestTheLifeOfABreaker(t *testing.T) {
	t.Parallel()
	client, server := cachetest.InProcess(t)
	now := time.UnixMilli(1_800_000_000_000)
	pass := func(d time.Duration, nodes ...*node) {
		now = now.Add(d)
		server.SetTime(now)
		for _, n := range nodes { // as if a second had passed here too
			n.hear(`["acme","p"]`)
		}
	}
	pass(0)
	a, b := newNode(t, client), newNode(t, client)
	late, err := b.Admit(t.Context(), "acme", "p", usual)
	if err != nil {
		t.Fatal(err)
	}
	a.call(t, Failure{Code: "x"})
	pass(Window+time.Second, a, b)
	for range usual.FailureThreshold {
		if blocked := a.call(t, Failure{Code: "server_error"}); blocked != "" {
			t.Fatal("failures that are over a minute old counted: " + blocked)
		}
	}
	if a.last() != "closed>open server_error" {
		t.Error(a.last())
	}
	until(t, "the other node hears of it", func() bool { return b.call(t, Success{}) == "open" })

	pass(usual.Cooldown, a, b)
	crashed, err := a.Admit(t.Context(), "acme", "p", usual)
	if err != nil || !crashed.Probe() {
		t.Fatalf("no probe: %v", err)
	}
	late.Done(t.Context(), Failure{Code: "late"})
	if blocked := b.call(t, Success{}); blocked != "" {
		t.Fatal("the second probe was kept away: " + blocked)
	}
	if blocked := b.call(t, Success{}); blocked != "half_open" {
		t.Fatal("a third call was let through: " + blocked)
	}
	pass(probeLease, a, b)
	if blocked := b.call(t, Success{}); blocked != "" {
		t.Fatal("a crashed probe keeps its permit: " + blocked)
	}
	if b.last() != "half_open>closed probes_succeeded" {
		t.Error(b.last())
	}
	crashed.Done(t.Context(), Failure{Code: "late"})
	pass(0, a, b)
	if v := a.Peek("acme", "p"); v.State != Closed || v.FailureCount != 0 {
		t.Errorf("%+v", v)
	}

	a.call(t, RateLimited{Until: time.Now().Add(30 * time.Second)})
	if blocked := a.call(t, Success{}); blocked != "rate_limited" || a.last() != "closed>rate_limited rate_limit" {
		t.Errorf("%q, told %q", blocked, a.last())
	}
	until(t, "the other node hears of it", func() bool { return b.call(t, Success{}) == "rate_limited" })
	pass(31*time.Second, a, b)
	if blocked := b.call(t, DeadCredential{Reason: "invalid_key"}); blocked != "" {
		t.Error(blocked)
	}
	if b.last() != "closed>dead invalid_key" || b.Peek("acme", "p").Blocked != Dead {
		t.Error(b.last())
	}
	pass(DeadRetry, a, b)
	if blocked := a.call(t, DeadCredential{Reason: "invalid_key"}); blocked != "" {
		t.Error("a dead credential is never tried again")
	}
	if blocked := a.call(t, Success{}); blocked != "dead" {
		t.Error("it is tried more than once: " + blocked)
	}
	pass(DeadRetry, a, b)
	a.call(t, Success{})
	if a.last() != "dead>closed probes_succeeded" {
		t.Error("a topped-up account does not heal: " + a.last())
	}
	a.call(t, DeadCredential{Reason: "invalid_key"})
	if err := a.Reset(t.Context(), "acme", "p"); err != nil || a.call(t, Success{}) != "" {
		t.Errorf("a new credential does not heal: %v", err)
	}
}

func TestWithoutRedisANodeGoesOnByItselfAndHandsOver(t *testing.T) {
	t.Parallel()
	client, server := cachetest.InProcess(t)
	a, b := newNode(t, client), newNode(t, client)
	a.call(t, Failure{Code: "x"})
	a.call(t, Failure{Code: "x"})
	server.Close()
	if blocked := a.call(t, Failure{Code: "server_error"}); blocked != "" || a.Peek("acme", "p").State != Open {
		t.Errorf("%q, %+v: what Redis had counted is lost", blocked, a.Peek("acme", "p"))
	}
	if !a.Degraded() || a.last() != "closed>open server_error" || a.call(t, Success{}) != "open" {
		t.Errorf("degraded %v, told %q", a.Degraded(), a.last())
	}
	if err := a.Reset(t.Context(), "acme", "other"); !errors.Is(err, errLocal) {
		t.Error("a reset that reaches one node only says nothing: ", err)
	}
	server.FlushAll()
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	until(t, "Redis is used again", func() bool { a.call(t, Success{}); return !a.Degraded() })
	if blocked := b.call(t, Success{}); blocked != "open" {
		t.Errorf("the other node does not know of the opening: %q", blocked)
	}
	if v := b.Peek("acme", "p"); v.State != Open || v.OpenedAt.IsZero() || !v.Until.After(time.Now()) {
		t.Errorf("%+v", v)
	}
}

func TestACallerThatHasGoneIsNoOutage(t *testing.T) {
	t.Parallel()
	client, _ := cachetest.InProcess(t)
	n := newNode(t, client)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := n.Admit(gone, "acme", "p", usual); !errors.Is(err, context.Canceled) || n.Degraded() {
		t.Errorf("%v, degraded %v", err, n.Degraded())
	}
	permit, err := n.Admit(t.Context(), "acme", "p", Settings{FailureThreshold: 1})
	if err != nil {
		t.Fatal(err)
	}
	permit.Done(gone, Failure{Code: "timeout"})
	if n.Peek("acme", "p").State != HalfOpen { // no cooldown: due at once
		t.Error("the result of a call whose client has gone does not count")
	}
	Permit{}.Done(gone, Success{})
}

func BenchmarkClosed(b *testing.B) {
	n := newNode(b, cachetest.Server(b))
	for b.Loop() {
		permit, err := n.Admit(context.Background(), "acme", "p", usual)
		if err != nil {
			b.Fatal(err)
		}
		permit.Done(context.Background(), Success{})
	}
}
