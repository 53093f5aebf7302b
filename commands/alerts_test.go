package commands_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/commands"
	"github.com/archonhq/archon/domain/alerts"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/eventcodec"
)

// countingLog counts what it is asked for, and fails while err is set.
type countingLog struct {
	commands.Log
	loads atomic.Int64
	err   atomic.Pointer[error]
}

func (l *countingLog) Load(ctx context.Context, tenant, stream string, after int64) ([]eventstore.Recorded, error) {
	l.loads.Add(1)
	if err := l.err.Load(); err != nil {
		return nil, *err
	}
	return l.Log.Load(ctx, tenant, stream, after) //nolint:wrapcheck // a test
}

var _ = Describe("Commands on alerts", Label("postgres"), func() {
	var f *fixture
	var log *countingLog
	var now atomic.Pointer[time.Time]
	alert := alerts.Unpriced("openai", "gpt-99")

	// node is what one node knows of alerts.
	node := func() *commands.Alerts {
		return &commands.Alerts{Handler: &commands.Handler{
			Log: log, Codec: eventcodec.New(), Sealer: sealer{}, Now: func() time.Time { return *now.Load() }, Logger: slog.New(slog.DiscardHandler),
		}}
	}
	later := func(by time.Duration) {
		moved := now.Load().Add(by)
		now.Store(&moved)
	}
	BeforeEach(func() {
		f = newFixture()
		log = &countingLog{Log: f.store}
		at := time.Now()
		now.Store(&at)
	})
	ctx := context.Background()
	resolve := func(of *commands.Alerts) error {
		return of.Resolve(ctx, commands.SystemCaller(tenant, "jobs"), alert.Kind, alert.Subject, "It has one.")
	}

	It("raise one once until it is resolved, and then anew", func() {
		one := node()
		for range 3 {
			Expect(one.Raise(ctx, tenant, alert)).To(Succeed())
		}
		Expect(node().Raise(ctx, tenant, alert)).To(Succeed(), "another node, which has not seen it")
		Expect(f.types()).To(Equal([]string{"alert.raised.v1"}))
		Expect(resolve(one)).To(Succeed())
		Expect(resolve(one)).To(Succeed())
		Expect(one.Raise(ctx, tenant, alert)).To(Succeed())
		Expect(f.types()).To(Equal([]string{"alert.raised.v1", "alert.resolved.v1", "alert.raised.v1"}))
		Expect(one.Raise(ctx, "rival", alert)).To(Succeed())
		rivals, err := f.store.Read(ctx, "rival", 0, 10)
		Expect(err).NotTo(HaveOccurred())
		Expect(rivals).To(HaveLen(1), "tenants have alerts of their own")
	})

	It("ask nobody while an alert is known to be open, for a minute", func() {
		one := node()
		Expect(one.Raise(ctx, tenant, alert)).To(Succeed())
		asked := log.loads.Load()
		for range 1000 {
			Expect(one.Raise(ctx, tenant, alert)).To(Succeed())
		}
		Expect(log.loads.Load()).To(Equal(asked))
		Expect(resolve(node())).To(Succeed(), "by another node")
		later(time.Minute)
		Expect(one.Raise(ctx, tenant, alert)).To(Succeed())
		Expect(f.types()).To(Equal([]string{"alert.raised.v1", "alert.resolved.v1", "alert.raised.v1"}))
	})

	It("raise one, of many who notice the same thing at once on several nodes", func() {
		var wg sync.WaitGroup
		for range 4 {
			of := node()
			for range 8 {
				wg.Go(func() {
					defer GinkgoRecover()
					Expect(of.Raise(ctx, tenant, alert)).To(Succeed())
				})
			}
		}
		wg.Wait()
		Expect(f.types()).To(Equal([]string{"alert.raised.v1"}))
	})

	It("try again after a fault", func() {
		one, broken := node(), errors.New("the database is away")
		log.err.Store(&broken)
		Expect(one.Raise(ctx, tenant, alert)).To(MatchError(broken))
		log.err.Store(nil)
		Expect(one.Raise(ctx, tenant, alert)).To(Succeed())
		Expect(f.types()).To(Equal([]string{"alert.raised.v1"}))
	})

	It("forget all that they know when it is too much to remember", func() {
		quick := &quickLog{}
		one := node()
		one.Handler.Log = quick
		for i := range 10_000 {
			Expect(one.Raise(ctx, tenant, alerts.Unpriced("openai", fmt.Sprint(i)))).To(Succeed())
		}
		Expect(one.Raise(ctx, tenant, alerts.Unpriced("openai", "0"))).To(Succeed())
		Expect(quick.appended.Load()).To(BeEquivalentTo(10_000), "the first one is still known")
		Expect(one.Raise(ctx, tenant, alerts.Unpriced("openai", "one too many"))).To(Succeed())
		Expect(one.Raise(ctx, tenant, alerts.Unpriced("openai", "0"))).To(Succeed())
		Expect(quick.appended.Load()).To(BeEquivalentTo(10_002))
	})

	It("refuse one that makes no sense, each time", func() {
		one := node()
		for range 2 {
			Expect(one.Raise(ctx, tenant, alerts.Unpriced("openai", strings.Repeat("m", 400)))).To(MatchError(ContainSubstring("validation_failed")))
		}
		Expect(f.types()).To(BeEmpty())
	})

	Describe("about models without a price", func() {
		var unpriced *commands.Unpriced
		var waited []int64
		open := []string{"openai/gpt-99", "openai/gpt-99-2026-10-10", "openai/other", "custom/gpt-99"}

		BeforeEach(func() {
			raiser := node()
			for _, subject := range open {
				Expect(raiser.Raise(ctx, tenant, alerts.Unpriced(alerts.ModelOf(subject)))).To(Succeed())
			}
			waited = nil
			unpriced = &commands.Unpriced{
				Alerts: raiser, Prices: &commands.Prices{Handler: raiser.Handler}, Waiter: waiterFunc(func(position int64, tables []string) error {
					waited = append(waited, position)
					Expect(tables).To(Equal([]string{"alerts"}))
					return nil
				}),
				Open: func(_ context.Context, of string, kind alerts.Kind) ([]string, error) {
					Expect(waited).NotTo(BeEmpty(), "the table is read when it is as far as the event")
					Expect([]string{of, string(kind)}).To(Equal([]string{tenant, "unpriced_model"}))
					return open, nil
				},
			}
		})
		job := func() commands.Caller {
			caller := commands.SystemCaller(tenant, "jobs")
			caller.Idempotency = &commands.Idempotency{CommandID: [16]byte{1}}
			return caller
		}
		resolved := func() []string {
			var subjects []string
			for _, event := range f.log() {
				if decoded, err := eventcodec.New().Decode(event.Type, event.Data); err == nil {
					if closed, is := decoded.(alerts.Resolved); is {
						subjects = append(subjects, closed.Subject)
					}
				}
			}
			return subjects
		}

		It("are resolved where there is a price now, dated names included, and done again that changes nothing", func() {
			Expect(unpriced.Resolve(ctx, job(), 4, time.Time{})).To(Succeed())
			Expect(resolved()).To(BeEmpty())
			_, err := f.override(as(), sentPrice())
			Expect(err).NotTo(HaveOccurred())
			later(time.Second)
			for range 2 {
				Expect(unpriced.Resolve(ctx, job(), 5, time.Time{})).To(Succeed())
			}
			Expect(resolved()).To(Equal([]string{"openai/gpt-99", "openai/gpt-99-2026-10-10"}))
			Expect(waited).To(Equal([]int64{4, 5, 5}))
		})

		It("stay open until the price holds, by the clock or by the moment that has come", func() {
			from := now.Load().Add(time.Hour)
			sent := sentPrice()
			sent.EffectiveFrom = &from
			_, err := f.override(as(), sent)
			Expect(err).NotTo(HaveOccurred())
			Expect(unpriced.Resolve(ctx, job(), 5, time.Time{})).To(Succeed())
			Expect(resolved()).To(BeEmpty())
			Expect(unpriced.Resolve(ctx, job(), 5, from)).To(Succeed(), "though this node's clock is behind")
			Expect(resolved()).To(HaveLen(2))
		})

		It("are looked at again where the table can't be waited for", func() {
			halted := errors.New("halted")
			unpriced.Waiter = waiterFunc(func(int64, []string) error { return halted })
			Expect(unpriced.Resolve(ctx, job(), 5, time.Time{})).To(MatchError(halted))
		})
	})
})

// quickLog has nothing in it, and counts what it is given.
type quickLog struct {
	commands.Log
	appended atomic.Int64
}

func (*quickLog) Load(context.Context, string, string, int64) ([]eventstore.Recorded, error) {
	return nil, nil
}

func (l *quickLog) Append(context.Context, eventstore.Append) (eventstore.Result, error) {
	return eventstore.Result{Last: l.appended.Add(1)}, nil
}

type waiterFunc func(position int64, tables []string) error

func (w waiterFunc) Wait(_ context.Context, _ string, position int64, tables ...string) error {
	return w(position, tables)
}
