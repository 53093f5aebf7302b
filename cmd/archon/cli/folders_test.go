package cli_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("Data folders", Label("e2e"), func() {
	It("run side by side, and know nothing of each other", func() {
		upstream := provider()
		places := []*installation{install(), install(), install()}
		took := make([]time.Duration, len(places))
		atOnce(len(places), func(index int) { took[index] = timeToStart(places[index]) })
		AddReportEntry(fmt.Sprintf("first start, %d at once", len(places)), fmt.Sprint(took))
		for index, place := range places {
			name := fmt.Sprintf("Provider %d", index)
			registered := place.must(http.MethodPost, providersPath, place.token("acme", "ada", "admin"), body(name, upstream.URL))
			Expect(registered.status).To(Equal(http.StatusCreated), registered.body)
		}
		for index, place := range places {
			Expect(names(place.listAll(place.token("acme", "ada", "admin"), 0))).To(ConsistOf(fmt.Sprintf("Provider %d", index)))
			Expect(place.cluster()).To(HavePrefix(place.dir))
			place.expectVerified("acme")
		}
		stranger := places[0].must(http.MethodGet, providersPath, places[1].token("acme", "ada", "admin"), nil)
		Expect(stranger.status).To(Equal(http.StatusUnauthorized), "another folder's issuer is another issuer")
	})

	It("keep their PostgreSQL over kill -9, and stop it with the last process that ends in order", func() {
		place := install()
		began := time.Now()
		first := place.start()
		AddReportEntry("first start", time.Since(began).Round(time.Millisecond).String())
		AddReportEntry("resident memory after the start, idle", residentMemory(first))
		postmaster := postmasterIn(place.cluster())
		orphaned := childOf(first.cmd.Process.Pid, "redis-server")

		By("killing Archon and starting it again")
		first.kill()
		Expect(isAlive(postmaster)).To(BeTrue())
		began = time.Now()
		second := place.start()
		AddReportEntry("start after kill -9", time.Since(began).Round(time.Millisecond).String())
		Expect(postmasterIn(place.cluster())).To(Equal(postmaster), "the orphan is adopted")
		if orphaned != 0 {
			Expect(isAlive(orphaned)).To(BeFalse(), "a Redis that nobody uses is stopped")
		}

		By("ending one of two")
		third := place.beside().start("serve")
		family := familyOf(postmaster, second, third)
		Expect(second.terminate()).To(Equal(0), second.output.String())
		Expect(isAlive(postmaster)).To(BeTrue(), "the other one uses it")
		Expect(third.must(http.MethodGet, "/health", "", nil).report().Status).To(Equal("ok"))

		By("ending the last one")
		Expect(third.terminate()).To(Equal(0), third.output.String())
		for _, pid := range family {
			Expect(isAlive(pid)).To(BeFalse(), "process %d is left over", pid)
		}
		for _, p := range processes() {
			Expect(p.command).NotTo(ContainSubstring(place.dir), "process %d is left over", p.pid)
		}

		began = time.Now()
		fourth := place.start()
		AddReportEntry("start after SIGTERM", time.Since(began).Round(time.Millisecond).String())
		Expect(fourth.terminate()).To(Equal(0), fourth.output.String())
	})

	It("may lose their process at any moment of the first start", func() {
		place, upstream := install(), provider()
		for _, sign := range []string{"postgres.json", "postgres", "postgres/PG_VERSION", "postgres/postmaster.pid", "secrets", "oidc/issuer.json"} {
			starting := place.command("dev")
			Expect(starting.Start()).To(Succeed())
			Eventually(func() string { return filepath.Join(place.dir, sign) }).WithTimeout(bound).WithPolling(time.Millisecond).Should(BeAnExistingFile())
			Expect(starting.Process.Kill()).To(Succeed())
			Expect(starting.Wait()).NotTo(Succeed())
		}
		place.start()
		admin := place.token("acme", "ada", "admin")
		Expect(place.must(http.MethodPost, providersPath, admin, body("First", upstream.URL)).status).To(Equal(http.StatusCreated))
		Expect(names(place.listAll(admin, 0))).To(ConsistOf("First"))
		place.expectVerified("acme")
	})

	It("may lie where only their owner gets to", func() {
		var elsewhere string
		DeferCleanup(func() { // after the server has stopped
			if elsewhere != "" {
				Expect(os.RemoveAll(elsewhere)).To(Succeed())
			}
		})
		place, upstream := install(), provider()
		const private = 0o700
		hidden := filepath.Join(place.dir, "private")
		Expect(os.Mkdir(hidden, private)).To(Succeed())
		place.dir = filepath.Join(hidden, "data")
		running := place.start()
		cluster := place.cluster()
		if os.Geteuid() == 0 {
			AddReportEntry("variant", "as root: PostgreSQL runs as another user, who can't get to the data folder")
			Expect(cluster).NotTo(HavePrefix(place.dir))
			elsewhere = cluster
		} else {
			AddReportEntry("variant", "as an ordinary user, whose PostgreSQL gets wherever Archon does")
			Expect(cluster).To(HavePrefix(place.dir))
		}
		admin := place.token("acme", "ada", "admin")
		Expect(place.must(http.MethodPost, providersPath, admin, body("Hidden", upstream.URL)).status).To(Equal(http.StatusCreated))
		Expect(running.terminate()).To(Equal(0), running.output.String())
		again := place.start()
		Expect(names(place.listAll(admin, 0))).To(ConsistOf("Hidden"))
		Expect(place.cluster()).To(Equal(cluster))
		Expect(again.terminate()).To(Equal(0), again.output.String())
	})
})

// timeToStart starts Archon and returns how long that took.
func timeToStart(place *installation) time.Duration {
	GinkgoHelper()
	began := time.Now()
	place.start()
	return time.Since(began).Round(time.Millisecond)
}

// residentMemory is what a process holds, as text.
func residentMemory(a *archon) string {
	GinkgoHelper()
	out, err := exec.Command("ps", "-o", "rss=", "-p", strconv.Itoa(a.cmd.Process.Pid)).Output()
	Expect(err).NotTo(HaveOccurred())
	kibibytes, err := strconv.Atoi(strings.TrimSpace(string(out)))
	Expect(err).NotTo(HaveOccurred())
	const kibibytesAMegabyte = 1024
	return fmt.Sprintf("%d MiB (%s, the test program, which holds more code than Archon)", kibibytes/kibibytesAMegabyte, runtime.Version())
}

// familyOf are the processes of a PostgreSQL, of Archons, and of what they have started.
func familyOf(postmaster int, archons ...*archon) []int {
	GinkgoHelper()
	family := []int{postmaster}
	for _, a := range archons {
		family = append(family, a.cmd.Process.Pid)
	}
	parents := slices.Clone(family)
	for _, p := range processes() {
		if slices.Contains(parents, p.parent) && !slices.Contains(family, p.pid) {
			family = append(family, p.pid)
		}
	}
	return family
}
