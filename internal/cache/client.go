package cache

import (
	"cmp"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// A call that waits for a Redis that is away holds up a request that needs none, so all of these are short and few.
const (
	dialTimeout = time.Second
	callTimeout = time.Second
	poolTimeout = time.Second
	maxRetries  = 1
	dialTries   = 1
)

// newClient makes a client that is bounded where the options leave it open.
func newClient(options *redis.Options) *redis.Client {
	options.DialTimeout = cmp.Or(options.DialTimeout, dialTimeout)
	options.ReadTimeout = cmp.Or(options.ReadTimeout, callTimeout)
	options.WriteTimeout = cmp.Or(options.WriteTimeout, callTimeout)
	options.PoolTimeout = cmp.Or(options.PoolTimeout, poolTimeout)
	options.MaxRetries = cmp.Or(options.MaxRetries, maxRetries)
	options.DialerRetries = cmp.Or(options.DialerRetries, dialTries)
	options.ContextTimeoutEnabled = true
	// Both are extra round trips of each new connection, and unknown to older servers.
	options.DisableIdentity = true
	options.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return redis.NewClient(options)
}
