package eventstore_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/pgembed"
	"github.com/archonhq/archon/migrations"
)

var _ = Describe("PostgreSQL that goes away under load", Ordered, func() {
	var cluster *pgembed.Cluster

	BeforeAll(func(ctx context.Context) {
		dir, err := os.MkdirTemp("", "archon-eventstore-")
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(os.RemoveAll, dir)
		cluster, err = pgembed.Start(context.WithoutCancel(ctx), pgembed.Config{DataDir: dir})
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(cluster.Release)
		_, err = migrations.Up(ctx, cluster.OwnerDSN())
		Expect(err).NotTo(HaveOccurred())
	})

	pool := func(ctx context.Context) *pgxpool.Pool {
		config, err := pgxpool.ParseConfig(cluster.OwnerDSN())
		Expect(err).NotTo(HaveOccurred())
		config.ConnConfig.RuntimeParams["role"] = "archon_app"
		config.MaxConns = 6
		pool, err := pgxpool.NewWithConfig(context.WithoutCancel(ctx), config)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(pool.Close)
		return pool
	}

	DescribeTable("costs clear errors at most, and recovers by itself", func(ctx context.Context, signal syscall.Signal, patience time.Duration) {
		const writers = 24
		l := newLedger()
		store := openOn(pool(ctx), eventstore.Config{UnavailableAfter: patience})
		l.run(ctx, store, writers, func() {
			Eventually(l.acknowledged.Load, bound).Should(BeNumerically(">", writers))
			pid := postmaster(cluster)
			Expect(pid).NotTo(BeZero())
			Expect(syscall.Kill(pid, signal)).To(Succeed())
			Eventually(func() int { return postmaster(cluster) }, bound).ShouldNot(Equal(pid))
			before := l.acknowledged.Load()
			Eventually(l.acknowledged.Load, bound).Should(BeNumerically(">", before+writers), "it goes on")
		})
		l.audit(ctx, store)
	},
		Entry("after an immediate shutdown", syscall.SIGQUIT, 10*time.Second),
		Entry("after kill -9", syscall.SIGKILL, 10*time.Second),
		Entry("after a fast shutdown, with little patience", syscall.SIGINT, 20*time.Millisecond),
	)
})

// postmaster is the process id of the cluster's server, 0 where there is none.
func postmaster(cluster *pgembed.Cluster) int {
	raw, err := os.ReadFile(filepath.Join(cluster.Dir(), "postmaster.pid"))
	if err != nil {
		return 0
	}
	line, _, _ := bytes.Cut(raw, []byte("\n"))
	pid, err := strconv.Atoi(string(line))
	if err != nil {
		return 0
	}
	return pid
}
