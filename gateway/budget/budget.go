package budget

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
)

const (
	// Hold is how long a reservation is held: longer than an attempt may take, unless ARCHON_CALL_TIMEOUT is raised beyond it.
	Hold = 15 * time.Minute

	settleTimeout = 5 * time.Second
)

// ErrUnavailable means that a budget which blocks can't be checked, because Redis or the ledger is away: answer 503.
var ErrUnavailable = errors.New("the budget can't be checked for now; try again shortly")

// ErrAmount means an amount below zero or above MaxAmount.
var ErrAmount = errors.New("a budget's amounts are from 0 to " + MaxAmount.String())

// Exceeded says that a reservation does not fit. The call may be made cheaper, with a lower max_tokens.
type Exceeded struct { //nolint:errname // reads as budget.Exceeded
	// Level is the id of the level, Spent what is spent there, and Held what is set aside for calls under way.
	Level              string
	Spent, Held, Limit Amount
}

// Error implements error.
func (e *Exceeded) Error() string {
	return fmt.Sprintf("the budget %s is exhausted: %s of %s are spent or reserved", e.Level, e.Spent+e.Held, e.Limit)
}

// Level is one of the budgets that a call counts in.
type Level struct {
	// ID names it within the tenant, such as key:<id>; a budget for a period has the period in it.
	ID    string
	Limit Amount
	// WarnOnly lets calls through beyond the limit; they are named in Reservation.Over.
	WarnOnly bool
	// Generation is another one, within the tenant, whenever the budget has come to be, or come to be again. Calls may count in such a level that were not
	// reserved on it: those that were under way then, or that a node let through which had not heard of it. While a generation is
	// young the ledger is asked for them. Empty is a level that has been there for as long as there were calls to count in it. Began is when the
	// first call could count in it, the start of its period.
	Generation string
	Began      time.Time
	// Base reads from the ledger what is spent, and the position of the log up to which that is so: nothing recorded
	// before the call may be missing. It is called when Redis does not know the level.
	Base func(ctx context.Context) (spent Amount, position int64, err error)
}

// Reservation is an amount that is held until it is settled.
type Reservation struct {
	// Over are the ids of the levels that only warn, and are beyond their limits.
	Over []string
	// Unchecked says that Redis was away; only levels that warn let a call through then.
	Unchecked bool

	id, tenant string
	levels     []Level
	epochs     []string
	settled    *atomic.Bool
}

// Budgets reserves and settles. Its methods may be called from any goroutine.
type Budgets struct {
	client *redis.Client
	log    *slog.Logger
	hold   time.Duration
	young  nursery
}

// New makes Budgets over the client; a nil log discards.
func New(client *redis.Client, log *slog.Logger) *Budgets {
	return &Budgets{client: client, log: cmp.Or(log, slog.New(slog.DiscardHandler)), hold: Hold, young: nursery{now: time.Now}}
}

// ledger is what Base said.
type ledger struct{ spent, position string }

func (l Level) read(ctx context.Context) (ledger, error) {
	spent, position, err := l.Base(ctx)
	if err != nil {
		return ledger{}, fmt.Errorf("read what %s has spent: %w", l.ID, err)
	}
	return ledger{strconv.FormatInt(int64(spent), 10), strconv.FormatInt(position, 10)}, nil
}

// Reserve holds amount on every level, or on none and fails: with *Exceeded where spent + held + amount is more than the
// limit of one, with ErrUnavailable where that can't be told, with ErrAmount.
func (b *Budgets) Reserve(ctx context.Context, tenant string, levels []Level, amount Amount) (Reservation, error) {
	r := Reservation{id: uuid.NewString(), tenant: tenant, levels: levels, settled: &atomic.Bool{}}
	blocks := false
	for _, level := range levels {
		if amount < 0 || amount > MaxAmount || level.Limit < 0 || level.Limit > MaxAmount {
			return Reservation{}, fmt.Errorf("%s: %w", level.ID, ErrAmount)
		}
		blocks = blocks || !level.WarnOnly
	}
	if len(levels) == 0 {
		return r, nil
	}
	err := b.young.raise(ctx, b, tenant, levels)
	if err == nil {
		var reconciled bool
		if reconciled, err = b.reserve(ctx, &r, amount, false); err == nil && reconciled {
			_, err = b.reserve(ctx, &r, amount, true)
		}
	}
	var exceeded *Exceeded
	switch {
	case err == nil, errors.As(err, &exceeded):
		return r, err
	case ctx.Err() != nil:
		return Reservation{}, fmt.Errorf("reserve: %w", context.Cause(ctx))
	}
	b.log.WarnContext(ctx, "budget can't be checked", "error", err)
	if blocks {
		return Reservation{}, ErrUnavailable
	}
	return Reservation{Unchecked: true, id: r.id, tenant: tenant, settled: r.settled}, nil
}

// reserve tries once; again says that the ledger has been asked for what lapsed. It returns true where it asked.
func (b *Budgets) reserve(ctx context.Context, r *Reservation, amount Amount, again bool) (reconciled bool, err error) {
	answer, err := b.run(ctx, reserveScript, r.tenant, r.levels, []any{r.id, int64(amount), b.hold.Milliseconds()}, func(i int, l ledger) []any {
		blocks := "1"
		if r.levels[i].WarnOnly {
			blocks = "0"
		}
		return []any{int64(r.levels[i].Limit), blocks, l.spent, l.position}
	})
	if err != nil {
		return false, err
	}
	if answer[0] == "exceeded" {
		const index, spent, held, lapsed = 1, 2, 3, 4
		level := r.levels[number(answer[index])-1]
		if answer[lapsed] == "1" && !again {
			_, err := b.Reconcile(ctx, r.tenant, level)
			return true, err
		}
		return false, &Exceeded{Level: level.ID, Spent: Amount(number(answer[spent])), Held: Amount(number(answer[held])), Limit: level.Limit}
	}
	r.epochs = answer[1 : 1+len(r.levels)]
	for _, i := range answer[1+len(r.levels):] {
		r.Over = append(r.Over, r.levels[number(i)-1].ID)
	}
	return false, nil
}

func number(text string) int64 {
	n, _ := strconv.ParseInt(text, 10, 64) // our own script wrote it
	return n
}

// run runs a script over the keys of levels, reading the ledger for those that Redis does not know.
func (b *Budgets) run(ctx context.Context, script *redis.Script, tenant string, levels []Level, head []any, each func(i int, l ledger) []any) ([]string, error) {
	keys, known := make([]string, len(levels)), make([]ledger, len(levels))
	for i, level := range levels {
		keys[i] = Key(tenant, level.ID)
	}
	for range 1 + 2*len(levels) {
		args := append([]any{}, head...)
		for i := range levels {
			args = append(args, each(i, known[i])...)
		}
		answer, err := script.Run(ctx, b.client, keys, args...).StringSlice()
		if err != nil {
			return nil, fmt.Errorf("run the budget's script: %w", err)
		}
		if answer[0] != "missing" {
			return answer, nil
		}
		i := number(answer[1]) - 1
		if known[i], err = levels[i].read(ctx); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("redis loses the budget's counters as fast as they are set")
}

// Spending is what is spent on a level.
type Spending struct {
	Level string
	Spent Amount
}

// Settle puts what the call cost in the place of what was held for it, and says what is spent on its levels by now, where that is
// known. position
// is where the call is recorded in the log, 0 where it is not. also are levels that the call counts in by now, where it was not
// reserved on them: they came to be while it was under way. A second settlement does nothing. An error means that the
// reservation stays, and counts in full once Hold is over, until the ledger says otherwise; the end of ctx does not keep it from
// being settled.
func (b *Budgets) Settle(ctx context.Context, r Reservation, actual Amount, position int64, also ...Level) ([]Spending, error) {
	levels := slices.Concat(r.levels, also)
	if r.settled == nil || len(levels) == 0 {
		return nil, nil
	}
	if actual < 0 || actual > MaxAmount {
		return nil, ErrAmount
	}
	if !r.settled.CompareAndSwap(false, true) {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	answer, err := b.run(ctx, settleScript, r.tenant, levels, []any{r.id, int64(actual), position}, func(i int, l ledger) []any {
		epoch := ""
		if i < len(r.epochs) {
			epoch = r.epochs[i]
		}
		return []any{l.spent, l.position, epoch}
	})
	if err != nil {
		r.settled.Store(false)
		return nil, err
	}
	var spent []Spending
	for i, level := range levels {
		if sum := answer[1+i]; sum != "" {
			spent = append(spent, Spending{Level: level.ID, Spent: Amount(number(sum))})
		}
	}
	return spent, nil
}

// Counts tells whether Redis counts anything on a level.
func (b *Budgets) Counts(ctx context.Context, tenant, level string) (bool, error) {
	found, err := b.client.Exists(ctx, Key(tenant, level)).Result()
	if err != nil {
		return false, fmt.Errorf("look for a budget's counter: %w", err)
	}
	return found > 0, nil
}

// Reconcile asks the ledger what a level has spent, and strikes off the reservations that lapsed before. It does nothing, and says
// so, where something is settled at this moment that the ledger's sum may lack.
func (b *Budgets) Reconcile(ctx context.Context, tenant string, level Level) (done bool, err error) {
	asked, err := b.client.Time(ctx).Result()
	if err != nil {
		return false, fmt.Errorf("ask redis for the time: %w", err)
	}
	l, err := level.read(ctx)
	if err != nil {
		return false, err
	}
	set, err := reconcileScript.Run(ctx, b.client, []string{Key(tenant, level.ID)}, l.spent, l.position, asked.UnixMilli()).Int()
	if err != nil {
		return false, fmt.Errorf("run the budget's reconciliation: %w", err)
	}
	return set == 1, nil
}
