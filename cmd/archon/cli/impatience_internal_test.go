package cli

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// patience is far longer than anything here may take, and limit far shorter.
const (
	patience = time.Minute
	limit    = 20 * time.Millisecond
)

// silentServer takes connections, keeps them, and says nothing.
func silentServer(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var kept []net.Conn // what nobody refers to would be closed by the garbage collector
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			kept = append(kept, conn)
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-ended
		for _, conn := range kept {
			_ = conn.Close()
		}
	})
	return listener
}

func dialImpatiently(t *testing.T, limit time.Duration) *impatientConn {
	t.Helper()
	conn, err := net.Dial("tcp", silentServer(t).Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &impatientConn{Conn: conn, limit: limit}
}

func TestSilenceEndsARead(t *testing.T) {
	t.Parallel()
	conn := dialImpatiently(t, limit)
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
}

func TestAServerThatTakesNothingEndsAWrite(t *testing.T) {
	t.Parallel()
	conn := dialImpatiently(t, limit)
	const moreThanBuffersHold = 64 << 20
	if _, err := conn.Write(make([]byte, moreThanBuffersHold)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
}

func TestADeadlineOfPgxGoesBefore(t *testing.T) {
	t.Parallel()
	conn := dialImpatiently(t, patience)
	if err := conn.SetDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read: got %v", err)
	}
	if _, err := conn.Write([]byte{1}); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("write: got %v", err)
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte{1}); err != nil {
		t.Fatalf("write after the deadline was taken back: got %v", err)
	}
}

func TestAPoolDoesNotWaitForAServerThatIsSilent(t *testing.T) {
	t.Parallel()
	cfg, err := pgxpool.ParseConfig("postgres://archon@" + silentServer(t).Addr().String() + "/archon?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	beImpatient(cfg)
	if cfg.ConnConfig.ConnectTimeout != connectLimit || cfg.PingTimeout != pingLimit {
		t.Fatalf("connect within %s, ping within %s", cfg.ConnConfig.ConnectTimeout, cfg.PingTimeout)
	}
	cfg.ConnConfig.ConnectTimeout = limit
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if err := pool.Ping(ctx); err == nil || ctx.Err() != nil {
		t.Fatalf("got %v", err)
	}
}
