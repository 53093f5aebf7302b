package cache

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/archonhq/archon/internal/pgembed/loopback"
)

// openInProcess serves Redis from this process. It listens on a port, for a pipe within the process would deadlock on a long pipeline.
func openInProcess() (*Cache, error) {
	server := miniredis.NewMiniRedis()
	// Without this no key would ever expire: its clock stands still.
	server.ClockTTL(true)
	password := randomHex(passwordBytes)
	server.RequireAuth(password)
	if err := server.StartAddr(loopback.Addr(0)); err != nil {
		return nil, fmt.Errorf("serve redis in process: %w", err)
	}
	stop := func() error {
		server.Close()
		return nil
	}
	return &Cache{client: newClient(&redis.Options{Addr: server.Addr(), Password: password}), kind: KindInProcess, stop: stop}, nil
}

func randomHex(n int) string {
	raw := make([]byte, n)
	// crypto/rand.Read never fails: it ends the program rather than return weak bytes.
	_, _ = rand.Read(raw)
	return hex.EncodeToString(raw)
}
