package subscriptions

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"
)

const (
	// usualBuffer is the send buffer in the kernel, in bytes, of which Linux makes twice as much: what a client may be
	// behind before it is noticed. farewellBuffer is what it is enlarged to for the rest of a message and the goodbye.
	usualBuffer    = 96 << 10
	farewellBuffer = 208 << 10
	// farewell is how long a client that is too slow has to take the rest of the message that it is in.
	farewell = 20 * time.Second
)

// patientConn is a connection that waits so long for a client to take something, and then makes room for a goodbye: a
// message that was begun must be ended before another can follow.
type patientConn struct {
	net.Conn

	patience time.Duration
	// slow is set for good once the client has taken too long.
	slow atomic.Bool
	// waits is for how long writing has been in the way, in nanoseconds.
	waits atomic.Int64
}

func newPatientConn(conn net.Conn, patience time.Duration) *patientConn {
	p := &patientConn{Conn: conn, patience: patience}
	p.resize(usualBuffer)
	return p
}

func (p *patientConn) resize(bytes int) {
	if sized, ok := p.Conn.(interface{ SetWriteBuffer(bytes int) error }); ok {
		_ = sized.SetWriteBuffer(bytes) // the kernel may have its own mind
	}
}

// waited is for how long the client has let us wait in all.
func (p *patientConn) waited() time.Duration { return time.Duration(p.waits.Load()) }

// Write implements net.Conn.
func (p *patientConn) Write(b []byte) (n int, err error) {
	start := time.Now()
	within := p.patience
	if p.slow.Load() {
		within = farewell
	}
	_ = p.SetWriteDeadline(start.Add(within))
	n, err = p.Conn.Write(b)
	p.waits.Add(int64(time.Since(start)))
	if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) || p.slow.Swap(true) {
		return n, err //nolint:wrapcheck // it stands for the connection
	}
	p.resize(farewellBuffer)
	_ = p.SetWriteDeadline(time.Now().Add(farewell))
	rest, err := p.Conn.Write(b[n:])
	return n + rest, err //nolint:wrapcheck // it stands for the connection
}
