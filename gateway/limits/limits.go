package limits

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/archonhq/archon/internal/cache"
)

// callTimeout bounds a correction, which outlives the request that it came from.
const callTimeout = time.Second

// Kind is what a limit counts.
type Kind string

// The kinds of limit.
const (
	Requests Kind = "requests"
	Tokens   Kind = "tokens"
)

// Limit is a limit and what a call takes of it.
type Limit struct {
	// ID names it within the tenant, such as key:<id>:requests. The same limit has the same id everywhere.
	ID   string
	Kind Kind
	// PerMinute is how much it lets through in a minute; Cost what the call takes, at least 0.
	PerMinute, Cost int64
}

// Level is how a limit stands.
type Level struct {
	ID        string
	Kind      Kind
	PerMinute int64
	// Remaining is what may still be taken now, and Reset how long it takes until all of the limit may be.
	Remaining int64
	Reset     time.Duration
}

// Verdict says whether a call may go on.
type Verdict struct {
	Allowed bool
	// Limit is the id of the limit that refuses for the longest; empty where Allowed.
	Limit string
	// RetryAfter is when the call will be let through if nobody else takes; Never means that it asks for more than the
	// limit lets through at all.
	RetryAfter time.Duration
	Never      bool
	// Levels are the limits in the order in which they were asked for.
	Levels []Level
	// At is when the call took, by Redis's clock; Adjust wants it back.
	At time.Time
	// Local says that this node decided by itself, while Redis was away.
	Local bool
}

// Config says whom to tell.
type Config struct {
	// Log hears of outages; nil discards.
	Log *slog.Logger
	// Now is the clock that takes over while Redis is away; nil stands for time.Now.
	Now func() time.Time
}

// Limiter holds limits. Its methods may be called from any goroutine.
type Limiter struct {
	client *redis.Client
	now    func() time.Time
	outage *cache.Outage

	// local are the limits by key as far as this node took of them.
	local sync.Map
	swept atomic.Int64
}

// counter is a window that is this node's own.
type counter struct {
	mu sync.Mutex
	window
}

// New makes a limiter over the client.
func New(client *redis.Client, config Config) *Limiter {
	l := &Limiter{client: client, now: config.Now, outage: &cache.Outage{What: "rate limits", Log: config.Log}}
	if l.now == nil {
		l.now = time.Now
	}
	return l
}

// Degraded tells whether this node holds the limits by itself for now, because Redis is away.
func (l *Limiter) Degraded() bool { return l.outage.Away() }

// Take takes the cost of each limit, or of none where one refuses. The ids of the limits differ. It fails only where ctx
// has ended.
func (l *Limiter) Take(ctx context.Context, tenant string, limits []Limit) (Verdict, error) {
	if len(limits) == 0 {
		return Verdict{Allowed: true, At: l.now()}, nil
	}
	if l.outage.Try() {
		v, err := l.take(ctx, tenant, limits)
		if err == nil {
			l.outage.Worked(ctx)
			if v.Allowed {
				l.book(tenant, limits)
			}
			return v, nil
		}
		if ctx.Err() != nil {
			return Verdict{}, fmt.Errorf("take of the limits: %w", context.Cause(ctx))
		}
		l.outage.Failed(ctx, err)
	}
	return l.takeLocally(tenant, limits), nil
}

func (l *Limiter) take(ctx context.Context, tenant string, limits []Limit) (Verdict, error) {
	const head, each = 3, 2
	keys, args := make([]string, len(limits)), make([]any, 0, each*len(limits))
	for i, limit := range limits {
		keys[i] = Key(tenant, limit.ID)
		args = append(args, limit.PerMinute, max(0, limit.Cost))
	}
	values, err := takeScript.Run(ctx, l.client, keys, args...).StringSlice()
	if err != nil {
		return Verdict{}, fmt.Errorf("run the limits' script: %w", err)
	}
	if len(values) != head+each*len(limits) {
		return Verdict{}, fmt.Errorf("the limits' script answered %d values for %d limits", len(values), len(limits))
	}
	numbers := make([]int64, len(values))
	for i, value := range values {
		if numbers[i], err = strconv.ParseInt(value, 10, 64); err != nil {
			return Verdict{}, fmt.Errorf("read the limits' answer: %w", err)
		}
	}
	v := verdict(limits, int(numbers[1])-1, numbers[2])
	v.At = time.UnixMilli(numbers[0]).UTC()
	for i, limit := range limits {
		v.Levels = append(v.Levels, level(limit, numbers[head+each*i], numbers[head+each*i+1]))
	}
	return v, nil
}

// verdict is without its levels; refusing is the number of the limit that refuses, -1 where none does.
func verdict(limits []Limit, refusing int, wait int64) Verdict {
	if refusing < 0 {
		return Verdict{Allowed: true}
	}
	v := Verdict{Limit: limits[refusing].ID, RetryAfter: time.Duration(max(0, wait)) * time.Millisecond, Never: wait < 0}
	return v
}

func level(limit Limit, remaining, reset int64) Level {
	return Level{ID: limit.ID, Kind: limit.Kind, PerMinute: limit.PerMinute, Remaining: remaining, Reset: time.Duration(reset) * time.Millisecond}
}

// Adjust corrects what a call took of a limit, once its true cost is known: delta is by how much it was more, negative
// where it was less. It is dropped where Redis is away, and once the call is over a minute old what is given back is too.
func (l *Limiter) Adjust(ctx context.Context, tenant, id string, taken Verdict, delta int64) {
	if delta == 0 {
		return
	}
	now := l.now().UnixMilli()
	c := l.counter(Key(tenant, id))
	c.mu.Lock()
	c.adjust(now, now, delta)
	c.mu.Unlock()
	if taken.Local || !l.outage.Try() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	if err := adjustScript.Run(ctx, l.client, []string{Key(tenant, id)}, taken.At.UnixMilli(), delta).Err(); err != nil {
		l.outage.Failed(ctx, err)
		return
	}
	l.outage.Worked(ctx)
}
