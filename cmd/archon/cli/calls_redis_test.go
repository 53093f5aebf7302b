package cli_test

import (
	"context"
	"net"
	"os/exec"
	"strconv"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"

	"github.com/archonhq/archon/internal/pgembed/loopback"
)

// redisServer is a redis-server that keeps nothing: once it was killed it has forgotten everything.
type redisServer struct {
	port int
	cmd  *exec.Cmd
}

// newRedisServer finds a free port; nobody answers there yet.
func newRedisServer() *redisServer {
	GinkgoHelper()
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	port, err := loopback.FreePort(ctx)
	Expect(err).NotTo(HaveOccurred())
	r := &redisServer{port: port}
	DeferCleanup(r.kill)
	return r
}

func (r *redisServer) env() string { return "ARCHON_REDIS_URL=redis://" + r.addr() }

func (r *redisServer) addr() string { return net.JoinHostPort(loopback.Host, strconv.Itoa(r.port)) }

func (r *redisServer) start() {
	GinkgoHelper()
	r.cmd = exec.Command("redis-server", "--port", strconv.Itoa(r.port), "--bind", loopback.Host, "--save", "", "--dir", GinkgoT().TempDir())
	Expect(r.cmd.Start()).To(Succeed(), "these specs need a redis-server: apt-get install redis-server, or brew install redis")
	client := redis.NewClient(&redis.Options{Addr: r.addr()})
	defer func() { _ = client.Close() }()
	Eventually(func() error { return client.Ping(context.Background()).Err() }).WithTimeout(bound).Should(Succeed())
}

// kill is kill -9.
func (r *redisServer) kill() {
	if r.cmd != nil {
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait()
		r.cmd = nil
	}
}
