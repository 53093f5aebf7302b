package eventstore_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/eventstore"
)

const (
	crashTenant  = "crash"
	crashWriters = 64
)

// writeUntilKilled is the process that dies: writers that print the id of every command that was acknowledged to them.
func writeUntilKilled(dsn string) error {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		return fmt.Errorf("open the pool: %w", err)
	}
	store := eventstore.New(pool, eventstore.Config{})
	var printing sync.Mutex
	failed := make(chan error)
	for range crashWriters {
		go func() {
			stream, version := "crash-"+uuid.NewString(), int64(0)
			for {
				request := single(crashTenant, stream, version)
				request.CommandID = uuid.New()
				request.Events = append(request.Events, eventstore.NewEvent{Stream: "crash-shared", Type: "test.happened.v1"})
				if _, err := store.Append(ctx, request); err != nil {
					failed <- err
					return
				}
				version++
				printing.Lock()
				_, _ = fmt.Fprintln(os.Stdout, request.CommandID) // unbuffered: the line is with the parent when this returns
				printing.Unlock()
			}
		}()
	}
	return <-failed
}

var _ = Describe("A node that is killed with 64 writers at work", func() {
	It("has every acknowledged command in the log once, twenty times over", func(ctx context.Context) {
		const times, shortest = 20, 150
		db := newDatabase(ctx)
		var acknowledged []string
		for i := range times {
			acknowledged = append(acknowledged, killAfter(ctx, db.URL("archon_app"), shortest+i*7)...)
		}
		store := open(ctx, db, eventstore.Config{})
		Eventually(func() error { // the last process's backend may still be at work
			_, err := store.Append(ctx, single(crashTenant, "after-1", 0))
			return err
		}, bound).Should(Succeed())
		expectIntact(ctx, store, crashTenant)

		root := superuser(ctx, db)
		var twice, lone int
		Expect(root.QueryRow(ctx, `select count(*) filter (where n > 2), count(*) filter (where n = 1) from
			(select count(*) as n from events where stream <> 'after-1' group by command_id) c`).Scan(&twice, &lone)).To(Succeed())
		Expect(twice).To(BeZero(), "none twice")
		Expect(lone).To(BeZero(), "none by half")
		var written, remembered int
		Expect(root.QueryRow(ctx, `select count(distinct e.command_id), count(distinct c.command_id) from unnest($1::uuid[]) a(id)
			join events e on e.command_id = a.id left join commands c on c.command_id = a.id`, acknowledged).Scan(&written, &remembered)).To(Succeed())
		Expect(written).To(Equal(len(acknowledged)), "every acknowledged one")
		Expect(remembered).To(Equal(len(acknowledged)), "together with its memory")
		AddReportEntry("acknowledged", len(acknowledged))
	})
})

// killAfter runs a writing process, kills it when it has acknowledged so many commands, and returns all that it had.
func killAfter(ctx context.Context, dsn string, lines int) []string {
	GinkgoHelper()
	child := exec.CommandContext(ctx, os.Args[0])
	child.Env = append(os.Environ(), writerEnv+"="+dsn)
	child.Stderr = GinkgoWriter
	out, err := child.StdoutPipe()
	Expect(err).NotTo(HaveOccurred())
	Expect(child.Start()).To(Succeed())
	var acknowledged []string
	for scanner := bufio.NewScanner(out); scanner.Scan(); {
		acknowledged = append(acknowledged, scanner.Text())
		if len(acknowledged) == lines {
			Expect(child.Process.Kill()).To(Succeed())
		}
	}
	Expect(len(acknowledged)).To(BeNumerically(">=", lines), "the process ended by itself")
	if last := acknowledged[len(acknowledged)-1]; len(last) != len(uuid.UUID{}.String()) {
		acknowledged = acknowledged[:len(acknowledged)-1] // it was killed in the middle of a line
	}
	Expect(child.Wait()).NotTo(Succeed())
	return acknowledged
}
