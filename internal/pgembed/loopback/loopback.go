// Package loopback finds TCP ports on 127.0.0.1 for the servers that Archon starts as its children.
//
// The invariant: a port it proposes lies below the ranges from which systems take the ports of outgoing connections. Else a client that dials a server
// that is just restarting may be given that very port as its own, connect to itself, and keep the server from coming back.
package loopback

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strconv"
)

// Host is the address that everything here is about.
const Host = "127.0.0.1"

const (
	lowest   = 20_000
	count    = 10_000
	attempts = 100
)

// ErrNoPort means that many random ports were tried and all were taken.
var ErrNoPort = errors.New("no free port on 127.0.0.1")

// FreePort returns a random port that nothing listens on at the moment. Another program may take it before the caller does: be ready to ask again.
func FreePort(ctx context.Context) (int, error) {
	for range attempts {
		n, err := rand.Int(rand.Reader, big.NewInt(count))
		if err != nil {
			return 0, fmt.Errorf("draw a port: %w", err)
		}
		if port := lowest + int(n.Int64()); IsFree(ctx, port) {
			return port, nil
		}
	}
	return 0, ErrNoPort
}

// IsFree tells whether a server could listen on the port now.
func IsFree(ctx context.Context, port int) bool {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", Addr(port))
	if err != nil {
		return false
	}
	return listener.Close() == nil
}

// Addr returns host and port as dialling and listening take them.
func Addr(port int) string {
	return net.JoinHostPort(Host, strconv.Itoa(port))
}
