package cache

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// Channel is the pub/sub channel of the wake-ups.
	Channel = "archon:appended"

	// publishEvery is the least time between two messages: however many appends there are, the others hear of them a few hundred times a second.
	publishEvery = 2 * time.Millisecond
	// publishRest follows a failed message. What is reported meanwhile goes into the next one.
	publishRest    = 250 * time.Millisecond
	publishTimeout = time.Second
	// maxPending bounds what is kept for the next message, should a very large number of tenants write while Redis is slow.
	maxPending = 10_000

	nodeIDBytes = 8

	// subscriberQueue holds messages for a callback that is busy.
	subscriberQueue = 1024
	// peerCheck is how often an idle subscription asks whether the server is still there.
	peerCheck = 3 * time.Second
)

// Bus tells other nodes that a tenant's log has grown. It is a hint: messages get lost whenever Redis or a node is away, so whoever listens must poll as well.
type Bus struct {
	client *redis.Client
	log    *slog.Logger
	// node is this bus's name in its messages, by which it knows its own.
	node string

	mu      sync.Mutex
	pending map[string]struct{}
	// wake holds one token while there is something pending.
	wake chan struct{}

	cancel context.CancelFunc
	ended  chan struct{}
}

// message is what goes over the channel.
type message struct {
	Node    string   `json:"node"`
	Tenants []string `json:"tenants"`
}

// NewBus starts a bus over the client; Close ends it. A nil log discards.
func NewBus(client *redis.Client, log *slog.Logger) *Bus {
	ctx, cancel := context.WithCancel(context.Background())
	b := &Bus{
		client: client, log: cmp.Or(log, slog.New(slog.DiscardHandler)), node: randomHex(nodeIDBytes),
		pending: make(map[string]struct{}), wake: make(chan struct{}, 1),
		cancel: cancel, ended: make(chan struct{}),
	}
	go b.run(ctx)
	return b
}

// Publish reports that the tenant's log has grown. It never blocks and never fails: reports of the same tenant that come within two milliseconds are one, and
// while Redis is away they are lost. The context is not used; a report outlives the request that it came from.
func (b *Bus) Publish(_ context.Context, tenant string) {
	b.mu.Lock()
	if len(b.pending) < maxPending {
		b.pending[tenant] = struct{}{}
	}
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// Close ends the publishing; what is pending is lost. Subscriptions end with their own contexts.
func (b *Bus) Close() {
	b.cancel()
	<-b.ended
}

func (b *Bus) run(ctx context.Context) {
	defer close(b.ended)
	away := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.wake:
		}
		err := b.flush(ctx)
		// Once an outage, not once a message.
		if err != nil && !away && ctx.Err() == nil {
			b.log.WarnContext(ctx, "wake-ups of other nodes are lost while redis is away", "error", err)
		}
		rest := publishEvery
		if away = err != nil; away {
			rest = publishRest
		}
		if pause(ctx, rest) != nil {
			return
		}
	}
}

// flush sends everything pending as one message.
func (b *Bus) flush(ctx context.Context) error {
	b.mu.Lock()
	tenants := b.pending
	b.pending = make(map[string]struct{})
	b.mu.Unlock()
	raw, err := json.Marshal(message{Node: b.node, Tenants: slices.Collect(maps.Keys(tenants))})
	if err != nil {
		return fmt.Errorf("encode wake-up: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	if err := b.client.Publish(ctx, Channel, raw).Err(); err != nil {
		return fmt.Errorf("publish wake-up: %w", err)
	}
	return nil
}

// Subscribe calls appended for every tenant whose log grew on another node, until ctx ends. It reconnects by itself. The callback runs on the caller's goroutine
// and should only take a note: messages that arrive while it is busy wait in a bounded queue.
func (b *Bus) Subscribe(ctx context.Context, appended func(tenant string)) {
	subscription := b.client.Subscribe(ctx, Channel)
	defer func() { _ = subscription.Close() }()
	messages := subscription.Channel(redis.WithChannelSize(subscriberQueue), redis.WithChannelHealthCheckInterval(peerCheck))
	for {
		select {
		case <-ctx.Done():
			return
		case received, ok := <-messages:
			if !ok { // the client was closed
				return
			}
			b.deliver(ctx, received.Payload, appended)
		}
	}
}

func (b *Bus) deliver(ctx context.Context, payload string, appended func(tenant string)) {
	var m message
	if err := json.Unmarshal([]byte(payload), &m); err != nil {
		b.log.WarnContext(ctx, "wake-up of another node is malformed", "error", err)
		return
	}
	if m.Node == b.node {
		return
	}
	for _, tenant := range m.Tenants {
		appended(tenant)
	}
}
