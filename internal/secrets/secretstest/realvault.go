package secretstest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"time"

	"github.com/google/uuid"
)

const (
	vaultStartTime = 30 * time.Second
	vaultPollTime  = 100 * time.Millisecond
)

// Server is a Vault to test against, with KV version 2 at mount "secret".
type Server struct {
	// Variant says which Vault it is, to be printed by the run.
	Variant string
	// Address and Token reach it; the token may do everything at the mount.
	Address, Token string
	// Fake is the server where it is none but a FakeVault, else nil.
	Fake *FakeVault

	stop func()
}

// Stop ends a server that was started for the test, and leaves alone one that was there before.
func (s Server) Stop() {
	if s.stop != nil {
		s.stop()
	}
}

// StartVault returns a real Vault where one can be had: the server at VAULT_ADDR with VAULT_TOKEN, else one of a "vault"
// or "bao" program on PATH, in its development mode. Otherwise it is a FakeVault, and Variant says so.
func StartVault(ctx context.Context) (Server, error) {
	if address, token := os.Getenv("VAULT_ADDR"), os.Getenv("VAULT_TOKEN"); address != "" && token != "" {
		return Server{Variant: "the server at VAULT_ADDR", Address: address, Token: token}, nil
	}

	for _, name := range []string{"vault", "bao"} {
		program, err := exec.LookPath(name)
		if errors.Is(err, exec.ErrNotFound) {
			continue
		}

		if err != nil {
			return Server{}, fmt.Errorf("find %s: %w", name, err)
		}

		return startProgram(ctx, program)
	}

	fake := NewFakeVault()

	return Server{
		Variant: "a server in the test that speaks KV v2's HTTP (no VAULT_ADDR with VAULT_TOKEN, no vault or bao on PATH)",
		Address: fake.URL(), Token: fake.RootToken(), Fake: fake, stop: fake.Close,
	}, nil
}

func startProgram(ctx context.Context, program string) (Server, error) {
	address, err := freeAddress()
	if err != nil {
		return Server{}, err
	}

	home, err := os.MkdirTemp("", "archon-vault-")
	if err != nil {
		return Server{}, fmt.Errorf("make vault's home: %w", err)
	}

	token := "root-" + uuid.NewString()
	runCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	command := exec.CommandContext(runCtx, program, "server", "-dev", "-dev-no-store-token",
		"-dev-root-token-id="+token, "-dev-listen-address="+address)
	command.Env = append(os.Environ(), "HOME="+home, "SKIP_SETCAP=1")

	if err := command.Start(); err != nil {
		cancel()

		return Server{}, fmt.Errorf("start %s: %w", program, err)
	}

	server := Server{Variant: program + " server -dev", Address: "http://" + address, Token: token, stop: func() {
		cancel()
		_ = command.Wait() // killed
		_ = os.RemoveAll(home)
	}}

	if err := server.awaitReady(ctx); err != nil {
		server.Stop()

		return Server{}, fmt.Errorf("start %s: %w", program, err)
	}

	return server, nil
}

func (s Server) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, vaultStartTime)
	defer cancel()

	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Address+"/v1/sys/internal/ui/mounts/secret", nil)
		if err != nil {
			return fmt.Errorf("ask whether it is ready: %w", err)
		}

		request.Header.Set(tokenHeader, s.Token)

		response, err := http.DefaultClient.Do(request)
		if err == nil {
			_ = response.Body.Close()

			if response.StatusCode == http.StatusOK {
				return nil
			}
		}

		select {
		case <-ctx.Done():
			return errors.New("it was not ready in time")
		case <-time.After(vaultPollTime):
		}
	}
}

func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}

	address := listener.Addr().String()

	return address, listener.Close()
}
