// Package cachetest gives tests of what runs in Redis a Redis: a real server, and one in process whose clock a test drives.
package cachetest

import (
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/archonhq/archon/internal/cache"
)

// Server starts a redis-server, which has to be there, and returns a client of it. Both go with the test.
func Server(tb testing.TB) *redis.Client {
	tb.Helper()
	c, err := cache.Open(tb.Context(), cache.Config{DataDir: tb.TempDir()})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	if c.Kind() != cache.KindServer {
		tb.Fatal("these tests need a real redis-server: apt-get install redis-server, or brew install redis")
	}
	return c.Client()
}

// InProcess starts a Redis in process, and returns a client of it that does not wait where it is away. Both go with the test.
func InProcess(tb testing.TB) (*redis.Client, *miniredis.Miniredis) {
	tb.Helper()
	server := miniredis.RunT(tb)
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1, DialTimeout: time.Second, DialerRetries: 1, DisableIdentity: true})
	tb.Cleanup(func() { _ = client.Close() })
	return client, server
}
