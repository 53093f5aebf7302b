package projections_test

import (
	"context"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/projections"
)

var _ = Describe("what stops a projection", Label("postgres"), func() {
	var b *bench
	BeforeEach(func(ctx context.Context) { b = newBench(ctx) })

	stateOf := func(ctx context.Context, runner *projections.Runner, tenant, name string) projections.State {
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

	DescribeTable("a poison event stops that projection for that tenant alone, visibly, and Retry resumes it",
		func(ctx context.Context, kind, message string) {
			healed := &atomic.Bool{}
			always := &atomic.Bool{}
			always.Store(true)
			runner := b.runner(oldCodec(), projections.Config{MaxBatchEvents: 64},
				accounts{name: "accounts", healed: healed}, accounts{name: "tolerant", healed: always})
			start(runner)
			b.append(ctx, "acme", ones(36)...)
			b.append(ctx, "acme", counted{Account: "a", N: 1, Bad: kind})
			last := b.append(ctx, "acme", ones(50)...)
			b.append(ctx, "other", ones(5)...)

			Eventually(ctx, func() string { return b.checkpoint(ctx, "acme", "accounts").Status }, soon).Should(Equal("stalled"))
			stalled := b.checkpoint(ctx, "acme", "accounts")
			Expect(stalled.Position).To(BeEquivalentTo(36), "all events before it are in")
			Expect(stalled.ErrorAt).To(BeEquivalentTo(37))
			Expect(stalled.ErrorType).To(Equal("test.counted.v1"))
			Expect(stalled.Error).To(ContainSubstring(message))
			Expect(b.ledger(ctx, "acme", "accounts")).To(Equal(upTo(36)))

			Expect(runner.Wait(ctx, "acme", last, "tolerant")).To(Succeed())
			Expect(runner.Wait(ctx, "other", 5)).To(Succeed())
			began := time.Now()
			Expect(runner.Wait(ctx, "acme", last, "accounts")).To(MatchError(projections.ErrHalted))
			Expect(time.Since(began)).To(BeNumerically("<", 5*time.Second), "at once")

			state := stateOf(ctx, runner, "acme", "accounts")
			Expect(state.Status).To(Equal("stalled"))
			Expect(state.Error).To(And(ContainSubstring("position 37"), ContainSubstring("test.counted.v1"), ContainSubstring(message)))
			Expect(state.LagEvents).To(Equal(last - 36))
			Expect(state.LagMS).To(BeNumerically(">=", 0))
			Expect(stateOf(ctx, runner, "other", "accounts").Status).To(Equal("live"))
			Expect(stateOf(ctx, runner, "acme", "tolerant").Status).To(Equal("live"))
			all, err := runner.States(ctx)
			Expect(err).NotTo(HaveOccurred())
			Expect(all[0]).To(And(HaveField("Status", "stalled"), HaveField("StalledTenants", BeEquivalentTo(1)), HaveField("Error", HavePrefix("tenant acme: "))))
			Expect(all[1]).To(And(HaveField("Status", "live"), HaveField("Position", last+5), HaveField("Head", last+5), HaveField("Error", "")))

			By("trying again in vain")
			Expect(runner.Retry(ctx, "accounts", "other")).To(BeEmpty())
			Expect(runner.Retry(ctx, "accounts", "acme")).To(Equal([]string{"acme"}))
			Eventually(ctx, func() string { return b.checkpoint(ctx, "acme", "accounts").Status }, soon).Should(Equal("stalled"))

			By("trying again with a projector that has been mended")
			healed.Store(true)
			Expect(runner.Retry(ctx, "accounts", "")).To(Equal([]string{"acme"}))
			Eventually(ctx, func() row { return b.checkpoint(ctx, "acme", "accounts") }, soon).Should(Equal(row{Position: last, Status: "live"}))
			Expect(b.ledger(ctx, "acme", "accounts")).To(Equal(upTo(last)))
			Expect(stateOf(ctx, runner, "acme", "accounts").Status).To(Equal("live"))
		},
		Entry("that the projector refuses", "error", "this event is bad"),
		Entry("that makes the projector panic", "panic", "at the disco"),
		Entry("whose statement PostgreSQL refuses", "sql", "division by zero"),
		Entry("whose statement can't be prepared", "missing table", "there_is_no_such_table"),
		Entry("whose statement has an argument that can't be sent", "argument", "uuid"),
	)

	It("stops at an event that can't be decoded", func(ctx context.Context) {
		b.append(ctx, "acme", ones(3)...)
		_, err := b.store.Append(ctx, eventstore.Append{Tenant: "acme", Events: []eventstore.NewEvent{{Stream: "s", Type: counted{}.EventType(), Data: []byte(`{"n":"x\u0000"}`)}}})
		Expect(err).NotTo(HaveOccurred())
		last := b.append(ctx, "acme", ones(3)...)
		runner := b.runner(oldCodec(), projections.Config{}, accounts{name: "accounts"})
		Expect(runner.Wait(ctx, "acme", last)).To(MatchError(projections.ErrHalted))
		Expect(b.checkpoint(ctx, "acme", "accounts")).To(And(HaveField("Position", BeEquivalentTo(3)), HaveField("Status", "stalled"), HaveField("ErrorAt", BeEquivalentTo(4))))
		Expect(b.ledger(ctx, "acme", "accounts")).To(Equal(upTo(3)))
	})

	It("does not stall for what passes", func(ctx context.Context) {
		b.exec(ctx, `create function refuse() returns void language sql as 'select'`)
		b.append(ctx, "acme", ones(3)...)
		failing := &atomic.Int64{}
		projector := failingProjector{accounts{name: "accounts"}, failing}
		runner := b.runner(oldCodec(), projections.Config{}, projector)
		start(runner)
		Eventually(failing.Load, soon).Should(BeNumerically(">=", 3))
		Expect(b.checkpoint(ctx, "acme", "accounts")).To(And(HaveField("Status", "live"), HaveField("Position", BeZero())))
		b.exec(ctx, `drop function refuse() cascade`)
		Eventually(ctx, func() row { return b.checkpoint(ctx, "acme", "accounts") }, soon).Should(Equal(row{Position: 3, Status: "live"}))
	})

	It("leaves a type that only newer nodes know to them", func(ctx context.Context) {
		b.append(ctx, "acme", ones(3)...)
		b.append(ctx, "acme", novel{})
		last := b.append(ctx, "acme", ones(2)...)
		older := b.runner(oldCodec(), projections.Config{}, accounts{name: "accounts"})
		start(older)
		Eventually(ctx, func() row { return b.checkpoint(ctx, "acme", "accounts") }, soon).Should(And(
			HaveField("Position", BeEquivalentTo(3)), HaveField("Status", "live"),
			HaveField("Error", ContainSubstring("test.novel.v1")), HaveField("ErrorType", "test.novel.v1"),
		))
		Expect(stateOf(ctx, older, "acme", "accounts").Status).To(Equal("stalled"))
		older.Wake("acme")
		short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		Expect(older.Wait(short, "acme", last)).To(MatchError(projections.ErrLagging), "a newer node may come")
		Consistently(ctx, func() int64 { return b.checkpoint(ctx, "acme", "accounts").Position }, "200ms").Should(BeEquivalentTo(3))

		newer := b.runner(newCodec(), projections.Config{}, accounts{name: "accounts"})
		start(newer)
		Eventually(ctx, func() row { return b.checkpoint(ctx, "acme", "accounts") }, soon).Should(Equal(row{Position: last, Status: "live"}))
		Expect(stateOf(ctx, older, "acme", "accounts").Status).To(Equal("live"))
		Expect(older.Wait(ctx, "acme", last)).To(Succeed())
		again := b.append(ctx, "acme", ones(1)...)
		Expect(older.Wait(ctx, "acme", again)).To(Succeed(), "the older node takes part again")
	})

	It("leaves a projection whose newer version serves", func(ctx context.Context) {
		old, renewed := accounts{name: "accounts", version: 1}, accounts{name: "accounts", version: 2}
		first := b.runner(oldCodec(), projections.Config{}, old)
		Expect(first.Wait(ctx, "acme", b.append(ctx, "acme", ones(2)...))).To(Succeed())

		By("not beginning a new version in tables that the old one has filled")
		second := b.runner(oldCodec(), projections.Config{}, renewed)
		start(second)
		short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		Expect(second.Wait(ctx, "acme", 2)).To(Succeed(), "the old one's rows show it")
		Expect(second.Wait(short, "acme", b.append(ctx, "acme", ones(1)...))).To(MatchError(projections.ErrLagging))
		Expect(stateOf(ctx, second, "acme", "accounts")).To(And(HaveField("Status", "stalled"), HaveField("Position", BeZero())))

		By("serving tenants that begin with the new version, and not with the old one any more")
		Expect(second.Wait(ctx, "young", b.append(ctx, "young", ones(2)...))).To(Succeed())
		b.append(ctx, "young", ones(2)...)
		Expect(stateOf(ctx, first, "young", "accounts").Status).To(Equal("stalled"))

		By("letting the old one serve while the new one is rebuilt")
		b.exec(ctx, `insert into projection_checkpoints (tenant_id, projection, version, position, hash, status)
			values ('acme', 'accounts', 2, 0, $1, 'rebuilding')`, eventstore.Genesis("acme"))
		Expect(first.Wait(ctx, "acme", b.append(ctx, "acme", ones(2)...))).To(Succeed())

		By("ending the old one when the new one goes live")
		b.exec(ctx, `update projection_checkpoints set status = 'live' where version = 2`)
		last := b.append(ctx, "acme", ones(2)...)
		Expect(first.Wait(ctx, "acme", last)).To(Succeed(), "the new one's rows show it")
		Expect(texts(ctx, b, `select position::text from projection_checkpoints where tenant_id = 'acme' and version = 1`)).To(Equal([]string{"5"}), "the old one has not gone on")
		Expect(stateOf(ctx, first, "acme", "accounts").Status).To(Equal("stalled"))
	})

	DescribeTable("a chain that does not continue the checkpoint stops it",
		func(ctx context.Context, tamper, message string, reached int64) {
			runner := b.runner(oldCodec(), projections.Config{}, accounts{name: "accounts"})
			Expect(runner.Wait(ctx, "acme", b.append(ctx, "acme", ones(5)...))).To(Succeed())
			last := b.append(ctx, "acme", ones(5)...)
			b.exec(ctx, `alter table events disable trigger events_append_only`)
			b.exec(ctx, tamper)
			Expect(runner.Wait(ctx, "acme", last)).To(MatchError(projections.ErrHalted))
			Expect(b.checkpoint(ctx, "acme", "accounts")).To(And(
				HaveField("Status", "stalled"), HaveField("Position", reached), HaveField("Error", ContainSubstring(message)),
			))
			Expect(b.ledger(ctx, "acme", "accounts")).To(Equal(upTo(reached)))
		},
		Entry("a link that was changed", `update events set prev_hash = sha256('x') where position = 8`, "prev_hash of position 8", int64(7)),
		Entry("a hash that was changed", `update events set hash = sha256('x') where position = 8`, "prev_hash of position 9", int64(8)),
		Entry("the event behind the checkpoint gone", `delete from events where position = 6`, "position 5 is followed by 7", int64(5)),
		Entry("an event in the middle gone", `delete from events where position = 8`, "position 7 is followed by 9", int64(7)),
		Entry("the tail gone", `delete from events where position > 5`, "no events after the checkpoint", int64(5)),
		Entry("tail and head gone", `with gone as (delete from events where position > 3)
			update chain_heads set position = 3, hash = (select hash from events where position = 3)`, "the head at 3", int64(5)),
		Entry("another history under the checkpoint", `update projection_checkpoints set hash = sha256('x')`, "prev_hash of position 6", int64(5)),
	)
})

// failingProjector fails with an error of the database that passes, until a function of the test is dropped.
type failingProjector struct {
	accounts
	failures *atomic.Int64
}

func (f failingProjector) Project(events []projections.Event, out *projections.Statements) error {
	out.Exec(`do $$ begin
		if to_regproc('refuse') is not null then
			raise exception 'try again' using errcode = 'serialization_failure';
		end if;
	end $$`)
	f.failures.Add(1)
	return f.accounts.Project(events, out)
}
