package plane

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/alerts"
	"github.com/archonhq/archon/domain/budgets"
	"github.com/archonhq/archon/domain/keys"
	"github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/breaker"
	"github.com/archonhq/archon/gateway/budget"
	"github.com/archonhq/archon/gateway/dialect"
	"github.com/archonhq/archon/gateway/limits"
)

// Caller is who calls, through which request, and on whose account.
type Caller struct {
	Tenant string
	Actor  domain.Actor
	Roles  []string
	// Method and Path (the route's template) name the request.
	Method, Path  string
	CorrelationID string
	// IP and UserAgent are personal data: the recorder seals them.
	IP, UserAgent string
	// Key is the API key that was used, nil for a user with a token.
	Key *keys.Key
	// UserID is the user of a token, empty for a key.
	UserID string
	// DepartmentID is the department on whose account the call is, as the key says, or else the token's claim. Where it is
	// empty NamedDepartment counts, which is what the request itself says.
	DepartmentID    string
	NamedDepartment string
}

// Recorder appends to the log what calls came to.
type Recorder interface {
	// Record returns once the call is durable, with its position.
	Record(ctx context.Context, caller Caller, recorded usage.Recorded) (position int64, err error)
	// Refuse records a call that was refused, unless there are too many to record each.
	Refuse(ctx context.Context, caller Caller, recorded usage.Recorded) error
}

// Targets finds what it takes to call a provider, credentials included.
type Targets interface {
	Target(ctx context.Context, tenant string, provider *Provider) (gateway.Target, error)
}

// Config is what the data plane is made of. Fields without a default must be set.
type Config struct {
	Directory *Directory
	Targets   Targets
	Dialect   *dialect.Client
	Breakers  *breaker.Breakers
	Limiter   *limits.Limiter
	Budgets   *budget.Budgets
	// Spend is what a key has spent according to the log, and up to which position, for budgets whose counter is lost.
	Spend func(ctx context.Context, tenant, keyID string) (spent budget.Amount, position int64, err error)
	// PeriodSpend is the same of a subject in a period.
	PeriodSpend func(ctx context.Context, tenant string, subject budgets.Subject, window budgets.Window) (spent budget.Amount, position int64, err error)
	// Raise tells whoever watches over budgets, after the answer. It may come often about the same thing.
	Raise    func(ctx context.Context, tenant string, alert alerts.Alert)
	Recorder Recorder
	Samples  *Samples
	// Unpriced is told, after the answer, of a model that was used and has no price.
	Unpriced func(ctx context.Context, tenant, providerType, model string)
	// Async records a call after its answer instead of before its last byte: faster, and kill -9 may lose the last calls.
	Async bool
	// DefaultMaxTokens is what a call under a budget may generate where neither client nor model say; 0 means 4096.
	DefaultMaxTokens int64
	Metrics          *Metrics
	Log              *slog.Logger
	Now              func() time.Time
	// Draw is the randomness of decisions; nil is the runtime's.
	Draw func() uint64
}

const defaultMaxTokens = 4096

// Plane answers calls. It is safe for concurrent use.
type Plane struct {
	Config

	firstTokens firstTokens
	// underway are calls, and records and settlements that go on after their answer.
	underway underway
	// stopping ends when attempts have to end, by stop.
	stopping context.Context //nolint:containedctx // the plane's life
	stop     context.CancelFunc
}

// New makes a Plane. Close it, so that what goes on after answers is finished.
func New(config Config) *Plane {
	config.DefaultMaxTokens = cmp.Or(config.DefaultMaxTokens, defaultMaxTokens)
	if config.Draw == nil {
		config.Draw = rand.Uint64
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	p := &Plane{Config: config}
	p.stopping, p.stop = context.WithCancel(context.Background())
	return p
}

// closeGrace is how long calls that outlast the bound of a shutdown have to be recorded, once their attempts were ended.
const closeGrace = 5 * time.Second

// Close waits, within ctx, until every call has been answered and everything is done that goes on after answers. When ctx
// ends first it ends the attempts that are under way, so that their calls are recorded as far as they have come, and gives
// that a few seconds; the error says that it came to that.
func (p *Plane) Close(ctx context.Context) error {
	err := p.underway.wait(ctx)
	if err == nil {
		return nil
	}
	p.stop()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeGrace)
	defer cancel()
	return errors.Join(fmt.Errorf("drain calls: %w", err), p.underway.wait(last))
}

// settleTimeout bounds what is done after an answer.
const settleTimeout = 10 * time.Second

// after does work that the client need not wait for.
func (p *Plane) after(ctx context.Context, work func(ctx context.Context)) {
	p.underway.begin()
	go func() {
		defer p.underway.end()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
		defer cancel()
		work(ctx)
	}()
}
