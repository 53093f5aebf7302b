package breaker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/archonhq/archon/internal/cache"
)

const (
	// Channel is the pub/sub channel on which nodes hear that a breaker has changed.
	Channel = "archon:breakers"

	// freshFor is how long what a node knows is used as it is, and staleFor how long while it is being asked for again.
	// They bound what a lost message costs.
	freshFor = time.Second
	staleFor = 10 * time.Second
	// callTimeout bounds a call to Redis that outlives the request it came from.
	callTimeout = time.Second
)

// Config says whom to tell.
type Config struct {
	// Log hears of outages; nil discards.
	Log *slog.Logger
	// Now is the clock that takes over while Redis is away; nil stands for time.Now.
	Now func() time.Time
	// OnTransition hears of the changes that this node has brought about, on the goroutine of whoever did; it must not
	// block. Nil: nobody does.
	OnTransition func(Transition)
}

// Transition is a change of a breaker.
type Transition struct {
	Tenant, Provider string
	// From and To are a State or a Blocked. RateLimit is told at most once a minute, and its end is not told: see Until.
	From, To string
	// Failures is how many there were within Window when it opened.
	Failures int
	// Reason is a word for what did it: the code of the failure, or what went well.
	Reason string
	// OpenedAt is zero while closed. Until is when an opening's cooldown, a rate limit, or a dead credential's rest is
	// over; zero where nothing ends by itself.
	OpenedAt, Until, At time.Time
	Generation          int64
	// Local says that this node decided it by itself, while Redis was away.
	Local bool
}

// View is what this node knows of a breaker.
type View struct {
	// State is HalfOpen as well where the cooldown is over and nobody has called since.
	State   State
	Blocked Blocked
	// Until is when it is worth asking again, zero where it is now. A dead credential whose Until has passed is due for a try.
	Until        time.Time
	FailureCount int
	// OpenedAt is zero while closed.
	OpenedAt time.Time
}

// Tripped says that a call was not let through.
type Tripped struct { //nolint:errname // reads as breaker.Tripped
	// State is a State or a Blocked.
	State string
	// RetryAfter is when it is worth asking again.
	RetryAfter time.Duration
}

// Error implements error.
func (t *Tripped) Error() string {
	return fmt.Sprintf("the provider's circuit breaker is %s; retry in %s", t.State, t.RetryAfter)
}

// Breakers are the breakers of all tenants and providers. Their methods may be called from any goroutine.
type Breakers struct {
	client  *redis.Client
	log     *slog.Logger
	now     func() time.Time
	tell    func(Transition)
	times   times
	outage  *cache.Outage
	entries sync.Map // of key, *entry
}

type key struct{ tenant, provider string }

// entry is what this node knows of one breaker.
type entry struct {
	mu sync.Mutex
	// known is false before the first answer; last is that answer, and at when it came.
	known bool
	last  answer
	at    time.Time
	// heard counts messages about it; what was asked for before the newest is out of date.
	heard      int64
	stale      bool
	refreshing bool
	// local decides while Redis is away; nil otherwise.
	local *machine
}

// New makes the breakers; Run keeps them in touch with those of other nodes.
func New(client *redis.Client, config Config) *Breakers {
	b := &Breakers{client: client, log: cmp.Or(config.Log, slog.New(slog.DiscardHandler)), now: config.Now, tell: config.OnTransition, times: constants()}
	if b.now == nil {
		b.now = time.Now
	}
	if b.tell == nil {
		b.tell = func(Transition) {}
	}
	b.outage = &cache.Outage{What: "circuit breakers", Log: b.log}
	return b
}

// Run listens for changes on other nodes until ctx ends. It reconnects by itself. Without it they are seen a second later.
func (b *Breakers) Run(ctx context.Context) error {
	subscription := b.client.Subscribe(ctx, Channel)
	defer func() { _ = subscription.Close() }()
	messages := subscription.Channel()
	for {
		select {
		case <-ctx.Done():
			return nil
		case received, ok := <-messages:
			if !ok { // the client was closed
				return nil
			}
			b.hear(received.Payload)
		}
	}
}

func (b *Breakers) hear(payload string) {
	var names [2]string
	if json.Unmarshal([]byte(payload), &names) != nil {
		return // a program that is not ours
	}
	if found, ok := b.entries.Load(key{names[0], names[1]}); ok {
		e := found.(*entry) //nolint:errcheck,forcetypeassert // nothing else is stored
		e.mu.Lock()
		e.heard++
		e.stale = true
		e.mu.Unlock()
	}
}

// Degraded tells whether the breakers are this node's own for now, because Redis is away.
func (b *Breakers) Degraded() bool { return b.outage.Away() }

func (b *Breakers) entry(tenant, provider string) *entry {
	k := key{tenant, provider}
	if found, ok := b.entries.Load(k); ok {
		return found.(*entry) //nolint:errcheck,forcetypeassert // nothing else is stored
	}
	found, _ := b.entries.LoadOrStore(k, &entry{})
	return found.(*entry) //nolint:errcheck,forcetypeassert // nothing else is stored
}

// Peek returns what this node knows without asking anybody; an unknown breaker is closed.
func (b *Breakers) Peek(tenant, provider string) View {
	found, ok := b.entries.Load(key{tenant, provider})
	if !ok {
		return View{State: Closed}
	}
	e := found.(*entry) //nolint:errcheck,forcetypeassert // nothing else is stored
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.local != nil {
		return view(e.local.look(b.now().UnixMilli()), 0, b.now())
	}
	if !e.known {
		return View{State: Closed}
	}
	return view(e.last, time.Since(e.at), b.now())
}

// view shows an answer that is some time old, in this node's time.
func view(a answer, age time.Duration, now time.Time) View {
	v := View{State: a.state, Blocked: a.blocked, FailureCount: a.failures}
	here := func(at int64) time.Time { return now.Add(time.Duration(at-a.now)*time.Millisecond - age) }
	if a.opened != 0 {
		v.OpenedAt = here(a.opened)
	}
	if a.until != 0 {
		v.Until = here(a.until)
	}
	if over := !v.Until.After(now); over {
		v.Until = time.Time{}
		if v.Blocked == RateLimit {
			v.Blocked = ""
		}
		if v.State == Open && v.Blocked == "" {
			v.State = HalfOpen
		}
	}
	return v
}

// Admit asks for a call to be let through. The permit's Done must be called with what the call came to. It fails with
// *Tripped where the call is not let through, and with the context's error; a Redis that is away is no error.
func (b *Breakers) Admit(ctx context.Context, tenant, provider string, s Settings) (Permit, error) {
	s = s.bounded()
	e := b.entry(tenant, provider)
	permit := Permit{breakers: b, tenant: tenant, provider: provider, settings: s}
	if !b.outage.Away() {
		if a, ok := b.known(ctx, e, tenant, provider); ok {
			return permit.from(a)
		}
	}
	permit.id = uuid.NewString()
	a, err := b.ask(ctx, e, request{op: "admit", tenant: tenant, provider: provider, settings: s, result: result{permit: permit.id}})
	if err != nil {
		return Permit{}, err
	}
	b.report(tenant, provider, a, "cooldown_over")
	return permit.from(a.answer)
}

// known answers from what this node knows, if that is new enough.
func (b *Breakers) known(ctx context.Context, e *entry, tenant, provider string) (answer, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.known || e.stale || e.local != nil {
		return answer{}, false
	}
	a, age := e.last, time.Since(e.at)
	passes := a.state == Closed && a.blocked == ""
	switch {
	case passes && age < freshFor:
	case passes && age < staleFor:
		if !e.refreshing {
			e.refreshing = true
			go b.refresh(context.WithoutCancel(ctx), e, tenant, provider)
		}
	case !passes && age < freshFor && a.until > a.now+age.Milliseconds():
		a.retry = a.until - a.now - age.Milliseconds()
		return a, true
	default:
		return answer{}, false
	}
	a.admitted = true
	return a, true
}

func (b *Breakers) refresh(ctx context.Context, e *entry, tenant, provider string) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, _ = b.ask(ctx, e, request{op: "look", tenant: tenant, provider: provider}) // whoever asks next sees what it came to
	e.mu.Lock()
	e.refreshing = false
	e.mu.Unlock()
}

// Reset closes the breaker, whatever it is: after a change of the credential, or on an operator's word. It fails where
// Redis is away: this node's breaker is reset then, the others' is not.
func (b *Breakers) Reset(ctx context.Context, tenant, provider string) error {
	a, err := b.ask(ctx, b.entry(tenant, provider), request{op: "reset", tenant: tenant, provider: provider})
	if err != nil {
		return err
	}
	b.report(tenant, provider, a, "reset")
	if a.local {
		return errLocal
	}
	return nil
}

var errLocal = errors.New("redis is away; the breaker was reset on this node only: try again later")

func (b *Breakers) report(tenant, provider string, a decided, reason string) {
	if a.to == "" {
		return
	}
	at := func(ms int64) time.Time {
		if ms == 0 {
			return time.Time{}
		}
		return time.UnixMilli(ms).UTC()
	}
	b.tell(Transition{
		Tenant: tenant, Provider: provider, From: a.from, To: a.to, Failures: a.failures, Reason: reason,
		OpenedAt: at(a.opened), Until: at(a.until), At: at(a.now), Generation: a.generation, Local: a.local,
	})
}
