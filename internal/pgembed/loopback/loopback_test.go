package loopback_test

import (
	"net"
	"testing"

	"github.com/archonhq/archon/internal/pgembed/loopback"
)

func TestFreePortIsFreeAndBelowTheEphemeralRange(t *testing.T) {
	t.Parallel()
	const lowestEphemeral = 32768
	for range 20 {
		port, err := loopback.FreePort(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if port < 1024 || port >= lowestEphemeral {
			t.Fatalf("port %d is privileged or ephemeral", port)
		}
		if !loopback.IsFree(t.Context(), port) {
			t.Fatalf("port %d was proposed but is taken", port)
		}
	}
}

func TestIsFreeSeesAListener(t *testing.T) {
	t.Parallel()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", loopback.Addr(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	port := listener.Addr().(*net.TCPAddr).Port
	if loopback.IsFree(t.Context(), port) {
		t.Fatalf("port %d has a listener but counts as free", port)
	}
}
