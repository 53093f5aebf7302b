package projections_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/projections"
)

// book is accounts whose tables can be rebuilt.
type book struct {
	accounts
	tables []string
}

func (b book) Tables() []string {
	if b.tables != nil {
		return b.tables
	}
	return []string{"test_ledger", "test_accounts"}
}

var _ projections.Rebuildable = book{}

// newBookBench is a bench whose tables can be rebuilt.
func newBookBench(ctx context.Context) *bench {
	b := newBench(ctx)
	b.exec(ctx, `alter table test_ledger add primary key (tenant_id, projection, position)`)
	b.exec(ctx, `select rebuild_table('test_ledger'), rebuild_table('test_accounts')`)
	return b
}

// rebuilt rebuilds a projection with a runner, to its end.
func rebuilt(ctx context.Context, runner *projections.Runner, name, tenant string) {
	GinkgoHelper()
	tenants, err := runner.RequestRebuild(ctx, name, tenant, false)
	Expect(err).NotTo(HaveOccurred())
	Expect(runner.Rebuild(ctx, name, tenants, 2)).To(Succeed())
	Expect(runner.Progress(ctx, name, tenants)).To(And(HaveField("Tenants", 0), HaveField("Error", "")))
}

// leftovers are the rows of rebuilds, which there are none of where none is under way.
func (b *bench) leftovers(ctx context.Context) int64 {
	GinkgoHelper()
	return collect[struct{ N int64 }](ctx, b, `select (select count(*) from rebuild.test_ledger) + (select count(*) from rebuild.test_accounts)
		+ (select count(*) from projection_checkpoints where projection like 'rebuild/%')`)[0].N
}

func stateIn(ctx context.Context, runner *projections.Runner, tenant, name string) projections.State {
	GinkgoHelper()
	states, err := runner.StatesOf(ctx, tenant)
	Expect(err).NotTo(HaveOccurred())
	for _, state := range states {
		if state.Name == name {
			return state
		}
	}
	Fail("no state of " + name)
	return projections.State{}
}

// differences lists what Diff finds.
func differences(ctx context.Context, runner *projections.Runner, name, tenant string) []projections.Difference {
	GinkgoHelper()
	list := []projections.Difference{}
	told, err := runner.Diff(ctx, name, tenant, func(one projections.Difference) error {
		list = append(list, one)
		return nil
	})
	Expect(err).NotTo(HaveOccurred())
	Expect(told.Differences).To(Equal(len(list)))
	return list
}

var _ = Describe("a rebuild", Label("postgres"), func() {
	var b *bench
	BeforeEach(func(ctx context.Context) { b = newBookBench(ctx) })

	It("gives the rows that were there, twice, and leaves other tenants alone", func(ctx context.Context) {
		for _, tenant := range []string{"acme", "beta", "gamma"} {
			b.append(ctx, tenant, ones(150)...)
			b.append(ctx, tenant, passed{}, passed{}, passed{})
		}
		runner := b.runner(oldCodec(), projections.Config{MaxBatchEvents: 32}, book{accounts: accounts{name: "book"}})
		for _, tenant := range []string{"acme", "beta", "gamma"} {
			Expect(runner.Wait(ctx, tenant, 153)).To(Succeed())
		}
		rows := func() []string {
			return texts(ctx, b, `select l::text || l.xmin::text from test_ledger l union all select a::text || a.xmin::text from test_accounts a order by 1`)
		}
		before := rows()
		Expect(len(before)).To(BeNumerically(">", 450))
		rebuilt(ctx, runner, "book", "acme")
		Expect(rows()).To(Equal(before), "not even written again")
		rebuilt(ctx, runner, "book", "")
		rebuilt(ctx, runner, "book", "")
		Expect(rows()).To(Equal(before))
		Expect(b.leftovers(ctx)).To(BeZero())
		Expect(b.checkpoint(ctx, "acme", "book")).To(Equal(row{Position: 153, Status: "live"}))

		By("making rows from nothing, for one tenant")
		b.exec(ctx, `delete from test_ledger`)
		b.exec(ctx, `delete from test_accounts`)
		rebuilt(ctx, runner, "book", "beta")
		Expect(b.ledger(ctx, "beta", "book")).To(Equal(upTo(150)))
		Expect(b.total(ctx, "beta", "book")).To(BeEquivalentTo(150))
		Expect(b.ledger(ctx, "acme", "book")).To(BeEmpty())
		Expect(runner.Wait(ctx, "beta", b.append(ctx, "beta", ones(3)...))).To(Succeed(), "and the projection goes on")
		Expect(b.total(ctx, "beta", "book")).To(BeEquivalentTo(153))
	})

	It("is refused for what must not be done again, for what is not there, and where a migration is missing", func(ctx context.Context) {
		runner := b.runner(oldCodec(), projections.Config{}, accounts{name: "reaction"}, book{accounts: accounts{name: "book"}, tables: []string{"test_ledger", "test_elsewhere"}})
		b.append(ctx, "acme", ones(1)...)
		_, err := runner.RequestRebuild(ctx, "reaction", "", false)
		Expect(err).To(MatchError(projections.ErrNeverRebuilt))
		Expect(runner.Rebuild(ctx, "reaction", nil, 1)).To(MatchError(projections.ErrNeverRebuilt))
		_, err = runner.RequestRebuild(ctx, "nothing", "", false)
		Expect(err).To(MatchError(projections.ErrUnknownProjection))
		_, err = runner.RequestRebuild(ctx, "book", "", false)
		Expect(err).To(MatchError(ContainSubstring("test_elsewhere")))
		b.exec(ctx, `create table test_elsewhere (tenant_id text primary key, more integer); select rebuild_table('test_elsewhere'); alter table rebuild.test_elsewhere drop column more`)
		_, err = runner.RequestRebuild(ctx, "book", "", false)
		Expect(err).To(MatchError(ContainSubstring("test_elsewhere")))
		Expect(b.leftovers(ctx)).To(BeZero())

		other := b.runner(oldCodec(), projections.Config{}, book{accounts: accounts{name: "book"}})
		Expect(other.RequestRebuild(ctx, "book", "nobody", false)).To(BeEmpty(), "a tenant without events")
	})

	It("leaves the projection serving where it meets a poison event, and goes on or begins anew when that is mended", func(ctx context.Context) {
		healed, always := &atomic.Bool{}, &atomic.Bool{}
		always.Store(true)
		b.append(ctx, "acme", ones(40)...)
		b.append(ctx, "acme", counted{Account: "a", N: 1, Bad: "sql"})
		last := b.append(ctx, "acme", ones(20)...)
		serving := b.runner(oldCodec(), projections.Config{}, book{accounts: accounts{name: "book", healed: always}})
		Expect(serving.Wait(ctx, "acme", last)).To(Succeed())

		mended := b.runner(oldCodec(), projections.Config{MaxBatchEvents: 16}, book{accounts: accounts{name: "book", healed: healed}})
		stops := func() {
			GinkgoHelper()
			tenants, err := mended.RequestRebuild(ctx, "book", "acme", false)
			Expect(err).NotTo(HaveOccurred())
			Expect(mended.Rebuild(ctx, "book", tenants, 1)).To(Succeed())
			Expect(mended.Progress(ctx, "book", tenants)).To(And(HaveField("Tenants", 1), HaveField("Stopped", 1), HaveField("Position", BeEquivalentTo(40)),
				HaveField("Head", last), HaveField("Error", And(HavePrefix("tenant acme: position 41 test.counted.v1: "), ContainSubstring("division by zero")))))
			state := stateIn(ctx, mended, "acme", "book")
			Expect(state).To(And(HaveField("Status", "live"), HaveField("Error", ""), HaveField("LagEvents", BeZero())))
			Expect(state.Rebuild).To(And(HaveField("Tenants", BeEquivalentTo(1)), HaveField("Error", ContainSubstring("division by zero"))))
			last = b.append(ctx, "acme", ones(1)...)
			Expect(serving.Wait(ctx, "acme", last)).To(Succeed())
			Expect(b.ledger(ctx, "acme", "book")).To(HaveLen(int(last)))
		}
		stops()

		By("beginning anew, since the program may be another one")
		b.exec(ctx, `update rebuild.test_accounts set total = 1000`)
		stops()

		By("going on")
		healed.Store(true)
		Expect(mended.Retry(ctx, "book", "acme")).To(Equal([]string{"acme"}))
		Expect(mended.Rebuild(ctx, "book", []string{"acme"}, 1)).To(Succeed())
		Expect(b.leftovers(ctx)).To(BeZero())
		Expect(b.ledger(ctx, "acme", "book")).To(Equal(upTo(last)))
		Expect(b.total(ctx, "acme", "book")).To(Equal(last))
	})

	It("lets a stalled projection go on with a program that has been mended", func(ctx context.Context) {
		healed := &atomic.Bool{}
		b.append(ctx, "acme", ones(10)...)
		b.append(ctx, "acme", counted{Account: "a", N: 1, Bad: "error"})
		last := b.append(ctx, "acme", ones(10)...)
		runner := b.runner(oldCodec(), projections.Config{}, book{accounts: accounts{name: "book", healed: healed}})
		Expect(runner.Wait(ctx, "acme", last)).To(MatchError(projections.ErrHalted))
		healed.Store(true)
		rebuilt(ctx, runner, "book", "acme")
		Expect(b.checkpoint(ctx, "acme", "book")).To(Equal(row{Position: last, Status: "live"}))
		Expect(b.ledger(ctx, "acme", "book")).To(Equal(upTo(last)))
	})

	It("waits for a newer program where it meets an event type that only that one knows", func(ctx context.Context) {
		b.append(ctx, "acme", ones(3)...)
		b.append(ctx, "acme", novel{})
		last := b.append(ctx, "acme", ones(2)...)
		older, newer := b.runner(oldCodec(), projections.Config{}, book{accounts: accounts{name: "book"}}), b.runner(newCodec(), projections.Config{}, book{accounts: accounts{name: "book"}})
		tenants, err := older.RequestRebuild(ctx, "book", "", false)
		Expect(err).NotTo(HaveOccurred())
		Expect(older.Rebuild(ctx, "book", tenants, 1)).To(Succeed())
		Expect(older.Progress(ctx, "book", tenants)).To(And(HaveField("Stopped", 1), HaveField("Error", ContainSubstring("test.novel.v1"))))
		Expect(newer.Rebuild(ctx, "book", tenants, 1)).To(Succeed())
		Expect(b.leftovers(ctx)).To(BeZero())
		Expect(b.ledger(ctx, "acme", "book")).To(HaveLen(5))
		Expect(b.checkpoint(ctx, "acme", "book")).To(Equal(row{Position: last, Status: "live"}))
	})

	It("is not swapped in while it is behind what is served", func(ctx context.Context) {
		serving := b.runner(oldCodec(), projections.Config{}, book{accounts: accounts{name: "book"}})
		last := b.append(ctx, "acme", ones(10)...)
		Expect(serving.Wait(ctx, "acme", last)).To(Succeed())
		var bursts atomic.Int64
		overtaken := func([]projections.Event) {
			// The first batch has everything up to the head that it has seen; more than one batch comes in before the swap.
			if bursts.Add(1) == 1 {
				last = b.append(ctx, "acme", ones(25)...)
				Expect(serving.Wait(ctx, "acme", last)).To(Succeed())
			}
		}
		runner := b.runner(oldCodec(), projections.Config{MaxBatchEvents: 20}, book{accounts: accounts{name: "book", before: overtaken}})
		rebuilt(ctx, runner, "book", "acme")
		Expect(b.checkpoint(ctx, "acme", "book")).To(Equal(row{Position: last, Status: "live"}), "nothing that was read is gone")
		Expect(b.ledger(ctx, "acme", "book")).To(Equal(upTo(last)))
	})

	It("takes a table that is partitioned", func(ctx context.Context) {
		b.exec(ctx, `
			drop table test_ledger, rebuild.test_ledger;
			create table test_ledger (tenant_id text, projection text, position bigint, n bigint, primary key (tenant_id, projection, position)) partition by range (position);
			create table test_ledger_first partition of test_ledger for values from (0) to (10);
			create table test_ledger_other partition of test_ledger default;
			alter table test_ledger enable row level security;
			create policy tenant_isolation on test_ledger using (tenant_id = current_setting('app.tenant_id', true));
			grant all on test_ledger to archon_worker;
			select rebuild_table('test_ledger')`)
		runner := b.runner(oldCodec(), projections.Config{}, book{accounts: accounts{name: "book"}})
		Expect(runner.Wait(ctx, "acme", b.append(ctx, "acme", ones(20)...))).To(Succeed())
		b.exec(ctx, `update test_ledger set n = 2 where position in (9, 10)`)
		b.exec(ctx, `delete from test_ledger where position in (5, 15)`)
		Expect(differences(ctx, runner, "book", "acme")).To(HaveLen(4))
		rebuilt(ctx, runner, "book", "acme")
		Expect(differences(ctx, runner, "book", "acme")).To(BeEmpty())
		Expect(b.ledger(ctx, "acme", "book")).To(Equal(upTo(20)))
		Expect(texts(ctx, b, `select count(*)::text from test_ledger_first`)).To(Equal([]string{"9"}))
	})

	It("tells values apart that are equal and not the same", func(ctx context.Context) {
		b.exec(ctx, `alter table test_ledger alter column n type numeric; alter table rebuild.test_ledger alter column n type numeric`)
		runner := b.runner(oldCodec(), projections.Config{}, book{accounts: accounts{name: "book"}})
		Expect(runner.Wait(ctx, "acme", b.append(ctx, "acme", ones(2)...))).To(Succeed())
		b.exec(ctx, `update test_ledger set n = 1.00 where position = 2`)
		one, two := "1", "1.00"
		Expect(differences(ctx, runner, "book", "acme")).To(ConsistOf(HaveField("Columns", []projections.Value{{Column: "n", Live: &two, Fresh: &one}})))
		rebuilt(ctx, runner, "book", "acme")
		Expect(texts(ctx, b, `select n::text from test_ledger`)).To(Equal([]string{"1", "1"}))
	})

	It("mends what somebody has changed in the tables, which Diff names", func(ctx context.Context) {
		runner := b.runner(oldCodec(), projections.Config{MaxBatchEvents: 16}, book{accounts: accounts{name: "book"}})
		last := b.append(ctx, "acme", append(ones(50), passed{})...)
		b.append(ctx, "beta", ones(5)...)
		Expect(runner.Wait(ctx, "acme", last)).To(Succeed())
		Expect(runner.Wait(ctx, "beta", 5)).To(Succeed())
		Expect(differences(ctx, runner, "book", "acme")).To(BeEmpty())

		b.exec(ctx, `update test_accounts set total = 7, count = 51 where tenant_id = 'acme'`)
		b.exec(ctx, `delete from test_ledger where tenant_id = 'acme' and position = 20`)
		b.exec(ctx, `insert into test_ledger values ('acme', 'book', 51, null)`)
		b.exec(ctx, `update test_ledger set n = 2 where tenant_id = 'beta' and position = 3`)
		text := func(s string) *string { return &s }
		Expect(differences(ctx, runner, "book", "acme")).To(ConsistOf(
			projections.Difference{
				Tenant: "acme", Table: "test_accounts", Kind: projections.Changed,
				Key:     []projections.Value{{Column: "projection", Live: text("book"), Fresh: text("book")}, {Column: "account", Live: text("a"), Fresh: text("a")}},
				Columns: []projections.Value{{Column: "total", Live: text("7"), Fresh: text("50")}, {Column: "count", Live: text("51"), Fresh: text("50")}},
			},
			And(HaveField("Kind", projections.Missing), HaveField("Key", ContainElement(projections.Value{Column: "position", Fresh: text("20")}))),
			And(HaveField("Kind", projections.Extra), HaveField("Key", ContainElement(projections.Value{Column: "position", Live: text("51")}))),
		))
		rebuilt(ctx, runner, "book", "acme")
		Expect(differences(ctx, runner, "book", "acme")).To(BeEmpty())
		Expect(differences(ctx, runner, "book", "beta")).To(HaveLen(1), "another tenant's are left alone")

		By("comparing at the position at which the projection is, whatever comes meanwhile")
		b.append(ctx, "acme", ones(5)...)
		Expect(differences(ctx, runner, "book", "acme")).To(BeEmpty())
		_, err := runner.Diff(ctx, "book", "nobody", nil)
		Expect(err).To(MatchError(ContainSubstring("has not been built")))
		b.exec(ctx, `update projection_checkpoints set hash = sha256('x') where tenant_id = 'acme'`)
		_, err = runner.Diff(ctx, "book", "acme", func(projections.Difference) error { return nil })
		Expect(err).To(MatchError(ContainSubstring("is not at the hash of position 51")))
	})

	It("serves readers without a gap while events arrive, on two nodes, again and again", func(ctx context.Context) {
		nodes := []*projections.Runner{}
		for range 2 {
			nodes = append(nodes, b.runner(oldCodec(), projections.Config{MaxBatchEvents: 20, Rest: time.Millisecond, Workers: 1}, book{accounts: accounts{name: "book"}}))
		}
		b.append(ctx, "acme", ones(300)...)
		Expect(nodes[0].Wait(ctx, "acme", 300)).To(Succeed())
		for _, node := range nodes {
			start(node)
		}
		traffic, stop := context.WithCancel(ctx)
		var group sync.WaitGroup
		defer func() { stop(); group.Wait() }()
		var appended, reads atomic.Int64
		failures := make(chan error, 2)
		report := func(err error) {
			if err != nil && traffic.Err() == nil {
				failures <- err
				stop()
			}
		}
		group.Go(func() {
			defer GinkgoRecover()
			for traffic.Err() == nil {
				last := b.append(ctx, "acme", ones(1+int(appended.Load())%7)...)
				appended.Store(last)
				report(nodes[last%2].Wait(traffic, "acme", last))
			}
		})
		group.Go(func() {
			var before int64
			for traffic.Err() == nil {
				at, err := b.readBook(traffic, before)
				report(err)
				before = at
				reads.Add(1)
			}
		})
		const rebuilds = 12
		for i := range rebuilds {
			_, err := nodes[i%2].RequestRebuild(ctx, "book", "acme", false)
			Expect(err).NotTo(HaveOccurred())
			Eventually(b.leftovers, soon).WithContext(ctx).Should(BeZero())
		}
		seen := reads.Load()
		Eventually(reads.Load, soon).Should(BeNumerically(">", seen+10))
		stop()
		group.Wait()
		Expect(failures).NotTo(Receive())
		last := b.append(ctx, "acme", ones(1)...)
		Expect(nodes[0].Wait(ctx, "acme", last)).To(Succeed())
		Expect(b.ledger(ctx, "acme", "book")).To(Equal(upTo(last)))
		Expect(b.total(ctx, "acme", "book")).To(Equal(last))
		AddReportEntry("reads", reads.Load())
	})

	It("goes on where it was cut off, however often", func(ctx context.Context) {
		const events = 2000
		b.append(ctx, "acme", ones(events)...)
		b.append(ctx, "beta", ones(events)...)
		firstRunner := b.runner(oldCodec(), projections.Config{}, book{accounts: accounts{name: "book"}})
		Expect(firstRunner.Wait(ctx, "acme", events)).To(Succeed())
		Expect(firstRunner.Wait(ctx, "beta", events)).To(Succeed())
		b.exec(ctx, `update test_accounts set total = 0`)

		var folded atomic.Int64
		gate := make(chan struct{})
		counting := func(batch []projections.Event) {
			folded.Add(int64(len(batch)))
			<-gate
		}
		runner := b.runner(oldCodec(), projections.Config{MaxBatchEvents: 50}, book{accounts: accounts{name: "book", before: counting}})
		tenants, err := runner.RequestRebuild(ctx, "book", "", false)
		Expect(err).NotTo(HaveOccurred())
		for cut := range 5 {
			cutCtx, kill := context.WithCancel(ctx)
			done := make(chan error, 1)
			go func() { done <- runner.Rebuild(cutCtx, "book", tenants, 2) }()
			for range 7 {
				gate <- struct{}{}
			}
			b.killConnections(ctx)
			if cut%2 == 0 {
				for range 7 {
					gate <- struct{}{} // it goes on by itself
				}
			}
			kill()
			finish := make(chan struct{})
			go func() {
				for {
					select {
					case gate <- struct{}{}:
					case <-finish:
						return
					}
				}
			}()
			Eventually(done, soon).Should(Receive(MatchError(context.Canceled)))
			close(finish)
			Eventually(runner.Progress, soon).WithContext(ctx).WithArguments("book", tenants).Should(And( // once the pool has noticed
				HaveField("Tenants", 2), HaveField("Position", BeNumerically(">", 0))))
			Expect(b.total(ctx, "acme", "book")).To(BeZero(), "what serves is what served")
		}
		before := folded.Load()
		left, err := runner.Progress(ctx, "book", tenants)
		Expect(err).NotTo(HaveOccurred())
		close(gate)
		Expect(runner.Rebuild(ctx, "book", tenants, 2)).To(Succeed())
		Expect(folded.Load()-before).To(BeNumerically("<", left.Head-left.Position+400), "what was done is not done again")
		for _, tenant := range tenants {
			Expect(b.ledger(ctx, tenant, "book")).To(Equal(upTo(events)))
			Expect(b.total(ctx, tenant, "book")).To(BeEquivalentTo(events))
		}
		Expect(b.leftovers(ctx)).To(BeZero())
	})

	It("brings a higher version in, which is served by the old one's rows until then, and back out", func(ctx context.Context) {
		first := b.runner(oldCodec(), projections.Config{}, book{accounts: accounts{name: "book", version: 1}})
		second := b.runner(oldCodec(), projections.Config{MaxBatchEvents: 16}, book{accounts: accounts{name: "book", version: 2}})
		start(first)
		Expect(first.Wait(ctx, "acme", b.append(ctx, "acme", ones(90)...))).To(Succeed())
		start(second)
		last := b.append(ctx, "acme", ones(10)...)
		Expect(second.Wait(ctx, "acme", last)).To(Succeed(), "the old program makes the rows, and they serve")
		Expect(stateIn(ctx, second, "acme", "book")).To(And(HaveField("Status", "stalled"), HaveField("Error", ContainSubstring("needs a rebuild"))))
		Expect(b.ledger(ctx, "acme", "book")).To(Equal(upTo(last)), "the old version's rows serve, and go on")

		_, err := second.RequestRebuild(ctx, "book", "", false)
		Expect(err).NotTo(HaveOccurred())
		last = b.append(ctx, "acme", ones(10)...)
		Eventually(func() []string {
			return texts(ctx, b, `select projection || version::text from projection_checkpoints`)
		}, soon).Should(Equal([]string{"book2"}))
		Expect(second.Wait(ctx, "acme", last)).To(Succeed())
		Expect(b.ledger(ctx, "acme", "book")).To(Equal(upTo(last)))
		Expect(stateIn(ctx, second, "acme", "book")).To(And(HaveField("Status", "live"), HaveField("Version", 2), HaveField("Rebuild", BeNil())))
		Expect(stateIn(ctx, first, "acme", "book")).To(HaveField("Status", "stalled"), "the old program leaves it to the new one")
		Expect(first.Wait(ctx, "acme", last)).To(Succeed(), "whose rows serve on its node, too")
		last = b.append(ctx, "acme", ones(10)...)
		Expect(second.Wait(ctx, "acme", last)).To(Succeed())

		_, err = first.RequestRebuild(ctx, "book", "", false)
		Expect(err).To(MatchError(projections.ErrNewerVersion))
		tenants, err := first.RequestRebuild(ctx, "book", "", true)
		Expect(err).NotTo(HaveOccurred())
		Expect(first.Rebuild(ctx, "book", tenants, 1)).To(Succeed())
		last = b.append(ctx, "acme", ones(10)...)
		Expect(first.Wait(ctx, "acme", last)).To(Succeed())
		Expect(b.ledger(ctx, "acme", "book")).To(Equal(upTo(last)))
		Expect(stateIn(ctx, second, "acme", "book")).To(HaveField("Status", "stalled"))
	})

	It("is held up by Pause like the projection itself, until Resume", func(ctx context.Context) {
		runner := b.runner(oldCodec(), projections.Config{}, book{accounts: accounts{name: "book"}})
		first := b.append(ctx, "acme", ones(5)...)
		b.append(ctx, "beta", ones(5)...)
		Expect(runner.Pause(ctx, "book", "acme")).To(Equal([]string{"acme"}), "though it has not begun")
		Expect(runner.Wait(ctx, "acme", first)).To(MatchError(projections.ErrHalted))
		Expect(runner.Pause(ctx, "book", "")).To(Equal([]string{"beta"}))
		Expect(runner.Pause(ctx, "book", "")).To(BeEmpty())
		Expect(runner.Pause(ctx, "book", "nobody")).To(BeEmpty())
		Expect(runner.Resume(ctx, "book", "")).To(Equal([]string{"acme", "beta"}))
		Expect(runner.Resume(ctx, "book", "")).To(BeEmpty())
		Expect(runner.Wait(ctx, "acme", first)).To(Succeed())

		_, err := runner.RequestRebuild(ctx, "book", "acme", false)
		Expect(err).NotTo(HaveOccurred())
		Expect(stateIn(ctx, runner, "acme", "book")).To(And(HaveField("Status", "rebuilding"), HaveField("Rebuild.Head", first)))
		Expect(runner.Pause(ctx, "book", "acme")).To(Equal([]string{"acme"}))
		Expect(runner.Rebuild(ctx, "book", []string{"acme"}, 1)).To(Succeed())
		Expect(runner.Progress(ctx, "book", []string{"acme"})).To(And(HaveField("Stopped", 1), HaveField("Error", "tenant acme: paused")))
		Expect(runner.Resume(ctx, "book", "acme")).To(Equal([]string{"acme"}))
		Expect(runner.Rebuild(ctx, "book", []string{"acme"}, 1)).To(Succeed())
		Expect(b.leftovers(ctx)).To(BeZero())

		By("staying paused where it was before the rebuild")
		Expect(runner.Pause(ctx, "book", "acme")).To(Equal([]string{"acme"}))
		last := b.append(ctx, "acme", ones(5)...)
		rebuilt(ctx, runner, "book", "acme")
		Expect(b.checkpoint(ctx, "acme", "book")).To(Equal(row{Position: last, Status: "paused"}))
		Expect(b.ledger(ctx, "acme", "book")).To(Equal(upTo(last)))
		for _, steer := range []func(context.Context, string, string) ([]string, error){runner.Pause, runner.Resume, runner.Retry} {
			_, err := steer(ctx, "nothing", "")
			Expect(err).To(MatchError(projections.ErrUnknownProjection))
		}
	})
})

// readBook reads both tables of the book in one snapshot, and fails where they disagree, lack an event, or are behind what was
// read before.
func (b *bench) readBook(ctx context.Context, before int64) (at int64, err error) {
	var rows, newest, total int64
	err = b.owner.QueryRow(ctx, `select (select count(*) from test_ledger where tenant_id = 'acme'),
		(select coalesce(max(position), 0) from test_ledger where tenant_id = 'acme'),
		(select coalesce(sum(total), 0) from test_accounts where tenant_id = 'acme')`).Scan(&rows, &newest, &total)
	switch {
	case err != nil:
		return before, err //nolint:wrapcheck // a test
	case rows != newest || rows != total || rows < before:
		return before, fmt.Errorf("%w: %d rows up to position %d with a total of %d, after %d", errBad, rows, newest, total, before)
	}
	return rows, nil
}

// texts are the rows of a query with one column of text.
func texts(ctx context.Context, b *bench, sql string) []string {
	GinkgoHelper()
	rows, err := b.owner.Query(ctx, sql)
	Expect(err).NotTo(HaveOccurred())
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	Expect(err).NotTo(HaveOccurred())
	return list
}
