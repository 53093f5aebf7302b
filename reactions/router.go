package reactions

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
)

// Defaults of RouterConfig: about a minute of tries, then it is an operator's turn.
const (
	defaultTries        = 8
	defaultFirstWait    = 250 * time.Millisecond
	longestWait         = 30 * time.Second
	waitFactor          = 2
	waitJitter          = 0.3
	defaultCloseTimeout = 10 * time.Second
	poisonTopic         = "failed"
	maxErrorBytes       = 1000
)

// RouterConfig tunes a Router; zero values are the defaults.
type RouterConfig struct {
	// Tries is how often a job is tried before it has failed; 8 by default.
	Tries int
	// FirstWait is the pause after the first failure; it doubles, up to 30 s.
	FirstWait time.Duration
	// CloseTimeout bounds how long Run waits, after its context has ended, for the jobs in hand.
	CloseTimeout time.Duration
	Subscriber   SubscriberConfig
	Log          *slog.Logger
}

// Router runs the handlers of jobs.
type Router struct {
	pool       *pgxpool.Pool
	config     RouterConfig
	router     *message.Router
	subscriber *Subscriber
}

// NewRouter makes a Router on a pool whose sessions run as archon_worker.
func NewRouter(pool *pgxpool.Pool, config RouterConfig) (*Router, error) {
	config.Tries = cmp.Or(config.Tries, defaultTries)
	config.FirstWait = cmp.Or(config.FirstWait, defaultFirstWait)
	config.CloseTimeout = cmp.Or(config.CloseTimeout, defaultCloseTimeout)
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	config.Subscriber.Log = config.Log
	config.Subscriber.Drain = config.CloseTimeout
	// watermill reports every routine step as info; what matters of it is debugging to us.
	logger := watermill.NewSlogLoggerWithLevelMapping(config.Log, map[slog.Level]slog.Level{slog.LevelInfo: slog.LevelDebug})
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: config.CloseTimeout + settleTimeout}, logger)
	if err != nil {
		return nil, fmt.Errorf("make the job router: %w", err)
	}
	r := &Router{pool: pool, config: config, router: router, subscriber: NewSubscriber(pool, config.Subscriber)}
	poison, err := middleware.PoisonQueueWithFilter(failures{r}, poisonTopic, func(err error) bool { return !errors.Is(err, errInterrupted) })
	if err != nil {
		return nil, fmt.Errorf("make the poison queue: %w", err)
	}
	retry := middleware.Retry{
		MaxRetries: config.Tries - 1, InitialInterval: config.FirstWait, MaxInterval: longestWait,
		Multiplier: waitFactor, RandomizationFactor: waitJitter, Logger: logger,
	}
	router.AddMiddleware(poison, interruptible, retry.Middleware, middleware.Recoverer, middleware.CorrelationID, traced)
	return r, nil
}

// Handle makes handler do the jobs of a topic, one at a time. handler runs outside any transaction and may be given a job more
// than once. It may return [Later] or [Final].
func (r *Router) Handle(topic string, handler func(ctx context.Context, job Job) error) {
	r.handle(topic, topic, handler)
}

// HandleMany is Handle for jobs that take long: so many of them at a time.
func (r *Router) HandleMany(topic string, atOnce int, handler func(ctx context.Context, job Job) error) {
	for i := range atOnce {
		r.handle(topic+" "+strconv.Itoa(i+1), topic, handler)
	}
}

func (r *Router) handle(name, topic string, handler func(ctx context.Context, job Job) error) {
	r.router.AddConsumerHandler(name, topic, r.subscriber, func(m *message.Message) error {
		id, err := uuid.Parse(m.UUID)
		if err != nil {
			return fmt.Errorf("job id: %w", err)
		}
		held, _ := leaseOf(m.Context())
		err = handler(m.Context(), Job{
			Tenant: m.Metadata.Get(metadataTenant), ID: id, Topic: topic, Payload: json.RawMessage(m.Payload),
			CorrelationID: m.Metadata.Get(metadataCorrelation), CausationID: m.Metadata.Get(metadataCausation), Attempt: held.attempt,
		})
		return r.settled(m.Context(), topic, err)
	})
}

// Run does jobs until ctx ends, and then lets those in hand finish, within CloseTimeout; what does not is given back.
func (r *Router) Run(ctx context.Context) error {
	if err := r.router.Run(ctx); err != nil {
		return fmt.Errorf("run jobs: %w", err)
	}
	return r.subscriber.Close()
}

// errInterrupted is a job that failed because the node is going down: it is nobody's fault and is given back.
var errInterrupted = errors.New("the job was interrupted")

func interruptible(next message.HandlerFunc) message.HandlerFunc {
	return func(m *message.Message) ([]*message.Message, error) {
		produced, err := next(m)
		if err != nil && m.Context().Err() != nil {
			return nil, fmt.Errorf("%w: %w", errInterrupted, err)
		}
		return produced, err
	}
}

// traced makes a span a try.
func traced(next message.HandlerFunc) message.HandlerFunc {
	return func(m *message.Message) ([]*message.Message, error) {
		topic := message.SubscribeTopicFromCtx(m.Context())
		ctx, span := otel.Tracer("github.com/archonhq/archon/reactions").Start(m.Context(), "job "+topic)
		defer span.End()
		span.SetAttributes(attribute.String("job.id", m.UUID), attribute.String("correlation_id", m.Metadata.Get(metadataCorrelation)))
		outer := m.Context()
		m.SetContext(ctx)
		defer m.SetContext(outer)
		produced, err := next(m)
		if err != nil {
			span.SetStatus(codes.Error, "failed")
		}
		return produced, err
	}
}

// failures is the poison queue: a job that has failed for good stays in its row, with the reason, for an operator.
type failures struct{ router *Router }

var _ message.Publisher = failures{}

var errNoLease = errors.New("a failed job is not held by this node any more")

// Publish implements message.Publisher.
func (f failures) Publish(_ string, messages ...*message.Message) error {
	for _, m := range messages {
		reason, _, _ := strings.Cut(m.Metadata.Get(middleware.ReasonForPoisonedKey), "\n") // a panic's stack trace is for the log
		if err := f.router.fail(m.Context(), message.SubscribeTopicFromCtx(m.Context()), reason); err != nil {
			return err
		}
	}
	return nil
}

// Close implements message.Publisher.
func (failures) Close() error { return nil }
