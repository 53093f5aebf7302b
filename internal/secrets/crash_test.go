package secrets_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/internal/secrets"
)

const (
	childJobVariable = "ARCHON_TEST_SECRETS_CHILD"
	childDirVariable = "ARCHON_TEST_SECRETS_DIR"

	killRounds  = 20
	killWriters = 4
	counterPath = "system/counter"
	incrementBy = 25
	crashTime   = 2 * time.Minute
)

// runChild is another process on the store in childDirVariable. It prints a line for each call that returned.
func runChild(job string) int {
	store, err := secrets.OpenEmbedded(os.Getenv(childDirVariable))
	if err == nil {
		err = map[string]func(secrets.Store) error{"write": childWrites, "count": childCounts}[job](store)
	}

	if err != nil {
		fmt.Fprintln(os.Stderr, err)

		return 1
	}

	return 0
}

// childWrites writes, destroys single versions and whole paths until it is killed.
func childWrites(store secrets.Store) error {
	ctx := context.Background()

	for i := 1; ; i++ {
		version, err := store.Put(ctx, "shared/kept", map[string]string{"by": fmt.Sprint(os.Getpid(), " ", i)})
		if err != nil {
			return err
		}

		fmt.Printf("kept %d %d %d\n", version, os.Getpid(), i)

		own := fmt.Sprintf("own/%d", os.Getpid())
		if _, err := store.Put(ctx, own, map[string]string{"n": strconv.Itoa(i)}); err != nil {
			return err
		}

		fmt.Printf("put %s %d\n", own, i)

		if i%3 == 0 {
			if err := store.Destroy(ctx, own); err != nil {
				return err
			}

			fmt.Printf("destroyed %s %d\n", own, i)
		}
	}
}

// childCounts adds to a counter with check-and-set.
func childCounts(store secrets.Store) error {
	ctx := context.Background()

	for added := 0; added < incrementBy; {
		value, version, err := store.Get(ctx, counterPath, 0)
		if err != nil {
			return err
		}

		count, err := strconv.Atoi(value["count"])
		if err != nil {
			return err
		}

		_, err = store.PutIfVersion(ctx, counterPath, version, map[string]string{"count": strconv.Itoa(count + 1)})
		if err == nil {
			added++
		} else if !strings.Contains(err.Error(), secrets.ErrVersionMismatch.Error()) {
			return err
		}
	}

	return nil
}

// child is a running process, and what it has said so far.
type child struct {
	command *exec.Cmd
	out     io.Reader
	lines   []string
}

func startChild(ctx context.Context, job, dir string) *child {
	GinkgoHelper()

	program, err := os.Executable()
	Expect(err).NotTo(HaveOccurred())

	c := &child{command: exec.CommandContext(ctx, program)}
	c.command.Env = append(os.Environ(), childJobVariable+"="+job, childDirVariable+"="+dir)
	c.command.Stderr = GinkgoWriter
	c.out, err = c.command.StdoutPipe()
	Expect(err).NotTo(HaveOccurred())
	Expect(c.command.Start()).To(Succeed())

	return c
}

// killAfter reads lines until there are enough, kills the process, and reads what it still said.
func (c *child) killAfter(enough int) {
	defer GinkgoRecover()

	reader := bufio.NewReader(c.out)

	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			break // a last half line was not yet said
		}

		c.lines = append(c.lines, strings.TrimSpace(line))
		if len(c.lines) == enough {
			Expect(c.command.Process.Kill()).To(Succeed())
		}
	}

	_ = c.command.Wait() // killed
}

var _ = Describe("the embedded store among processes", func() {
	var dir string

	BeforeEach(func() { dir = GinkgoT().TempDir() })

	It("keeps every call that returned over kill -9", func(ctx SpecContext) {
		writtenBy := map[int]string{} // version of shared/kept → who wrote it

		for round := range killRounds {
			children := make([]*child, killWriters)

			var group sync.WaitGroup

			for i := range children {
				children[i] = startChild(ctx, "write", dir)
				enough := 3 + (round*7+i*5)%23
				group.Go(func() { children[i].killAfter(enough) })
			}

			group.Wait()
			checkAfterCrash(ctx, dir, children, writtenBy)
		}

		Expect(len(writtenBy)).To(BeNumerically(">", killRounds*killWriters))
	}, NodeTimeout(crashTime))

	It("counts right with check-and-set from several at once", func(ctx SpecContext) {
		store, err := secrets.OpenEmbedded(dir)
		Expect(err).NotTo(HaveOccurred())
		_, err = store.PutIfVersion(ctx, counterPath, 0, map[string]string{"count": "0"})
		Expect(err).NotTo(HaveOccurred())

		var group sync.WaitGroup

		for range killWriters {
			c := startChild(ctx, "count", dir)
			group.Go(func() {
				defer GinkgoRecover()
				Expect(c.command.Wait()).To(Succeed())
			})
		}

		group.Wait()

		value, version, err := store.Get(ctx, counterPath, 0)
		Expect(err).NotTo(HaveOccurred())
		Expect(value).To(HaveKeyWithValue("count", strconv.Itoa(killWriters*incrementBy)))
		Expect(version).To(Equal(killWriters*incrementBy + 1))
	}, NodeTimeout(crashTime))

	It("has one identity when many open it first at once", func(ctx SpecContext) {
		stores := make([]secrets.Store, many)

		var group sync.WaitGroup
		for i := range stores {
			group.Go(func() {
				defer GinkgoRecover()

				store, err := secrets.OpenEmbedded(dir)
				Expect(err).NotTo(HaveOccurred())
				_, err = store.Put(ctx, fmt.Sprintf("a/%d", i), map[string]string{})
				Expect(err).NotTo(HaveOccurred())
				stores[i] = store
			})
		}

		group.Wait()

		for i, store := range stores {
			_, _, err := store.Get(ctx, fmt.Sprintf("a/%d", (i+1)%many), 0)
			Expect(err).NotTo(HaveOccurred())
		}
	})
})

// checkAfterCrash opens the store anew and compares it with what the killed processes said.
func checkAfterCrash(ctx context.Context, dir string, children []*child, writtenBy map[int]string) {
	GinkgoHelper()

	store, err := secrets.OpenEmbedded(dir)
	Expect(err).NotTo(HaveOccurred())
	defer store.Close()

	for _, c := range children {
		var path string

		lastPut, lastDestroyed := 0, 0

		for _, line := range c.lines {
			var version, pid, i int

			switch fields := strings.Fields(line); fields[0] {
			case "kept":
				_, err := fmt.Sscanf(line, "kept %d %d %d", &version, &pid, &i)
				Expect(err).NotTo(HaveOccurred())
				Expect(writtenBy).NotTo(HaveKey(version), "two writers got version %d", version)
				writtenBy[version] = fmt.Sprint(pid, " ", i)
			case "put":
				path = fields[1]
				lastPut, err = strconv.Atoi(fields[2])
				Expect(err).NotTo(HaveOccurred())
			case "destroyed":
				lastDestroyed, err = strconv.Atoi(fields[2])
				Expect(err).NotTo(HaveOccurred())
			}
		}

		if path != "" {
			checkOwnPath(ctx, store, path, lastPut, lastDestroyed)
		}
	}

	checkKeptVersions(ctx, store, writtenBy)
}

// checkOwnPath allows for the one call that was under way when the process was killed: done, or not done.
func checkOwnPath(ctx context.Context, store secrets.Store, path string, lastPut, lastDestroyed int) {
	GinkgoHelper()

	value, version, err := store.Get(ctx, path, 0)

	switch {
	case err == nil:
		n, err := strconv.Atoi(value["n"])
		Expect(err).NotTo(HaveOccurred())
		Expect(n).To(BeNumerically(">", lastDestroyed), "a destroyed value is back")
		Expect(n).To(BeElementOf(lastPut, lastPut+1))
		Expect(version).To(Equal((n-1)%3+1), "versions restart after Destroy")
	case lastPut > lastDestroyed && lastPut%3 == 0: // the Destroy after it was under way
		Expect(err).To(MatchError(secrets.ErrNotFound))
	default:
		Expect(err).To(MatchError(secrets.ErrNotFound))
		Expect(lastDestroyed).To(BeNumerically(">=", lastPut), "a put that returned is lost")
	}
}

func checkKeptVersions(ctx context.Context, store secrets.Store, writtenBy map[int]string) {
	GinkgoHelper()

	_, newest, err := store.Get(ctx, "shared/kept", 0)
	Expect(err).NotTo(HaveOccurred())

	for version, by := range writtenBy {
		Expect(version).To(BeNumerically("<=", newest))

		if version > newest-secrets.KeptVersions {
			value, _, err := store.Get(ctx, "shared/kept", version)
			Expect(err).NotTo(HaveOccurred())
			Expect(value).To(HaveKeyWithValue("by", by))
		}
	}
}
