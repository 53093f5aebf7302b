package eventstoretest

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/eventstore"
)

func input(open Open) {
	Describe("malformed appends", func() {
		f := with(open)
		overlong := strings.Repeat("x", eventstore.MaxNameBytes+1)
		event := func(stream, eventType string) []eventstore.NewEvent {
			return []eventstore.NewEvent{{Stream: stream, Type: eventType}}
		}

		DescribeTable("are refused", func(ctx context.Context, request eventstore.Append) {
			Expect(f.refused(ctx, request)).To(MatchError(eventstore.ErrInvalid))
		},
			Entry("no events", eventstore.Append{}),
			Entry("no events, but an expectation", eventstore.Append{Expect: expect("a-1", 0)}),
			Entry("an empty stream", eventstore.Append{Events: event("", "t.v1")}),
			Entry("an overlong stream", eventstore.Append{Events: event(overlong, "t.v1")}),
			Entry("a stream with NUL", eventstore.Append{Events: event("a\x00b", "t.v1")}),
			Entry("a stream that is not UTF-8", eventstore.Append{Events: event("a\xffb", "t.v1")}),
			Entry("a stream with half a surrogate", eventstore.Append{Events: event("a\xed\xa0\x80b", "t.v1")}),
			Entry("an empty type", eventstore.Append{Events: event("a-1", "")}),
			Entry("an overlong type", eventstore.Append{Events: event("a-1", overlong)}),
			Entry("a type with NUL", eventstore.Append{Events: event("a-1", "t\x00.v1")}),
			Entry("a type that is not UTF-8", eventstore.Append{Events: event("a-1", "t\xc0\xaf")}),
			Entry("one bad event among good ones", eventstore.Append{Events: append(events("a-1", "a-2"), event("a\x00b", "t.v1")...)}),
			Entry("too much data", eventstore.Append{Events: []eventstore.NewEvent{{Stream: "a-1", Type: "t.v1", Data: make([]byte, eventstore.MaxEventBytes+1)}}}),
			Entry("too much meta", eventstore.Append{Meta: make([]byte, eventstore.MaxEventBytes+1), Events: events("a-1")}),
			Entry("an expectation on an empty stream", eventstore.Append{Expect: expect("", 0), Events: events("a-1")}),
			Entry("an expectation on a stream with NUL", eventstore.Append{Expect: expect("a\x00", 0), Events: events("a-1")}),
			Entry("an expectation on an overlong stream", eventstore.Append{Expect: expect(overlong, 0), Events: events("a-1")}),
			Entry("a negative expectation", eventstore.Append{Expect: expect("a-1", -1), Events: events("a-1")}),
			Entry("an answer without a command id", eventstore.Append{Events: events("a-1"), Remember: eventstore.Remember{
				Answer: func([]eventstore.Recorded) ([]byte, error) { return nil, nil },
			}}),
		)

		DescribeTable("are refused for their tenant", func(ctx context.Context, tenant string) {
			_, err := f.Append(ctx, eventstore.Append{Tenant: tenant, Events: events("a-1")})
			Expect(err).To(MatchError(eventstore.ErrInvalid))
		}, Entry("none", ""), Entry("overlong", overlong), Entry("NUL", "t\x00"), Entry("not UTF-8", "t\xff"))

		It("may have names of the greatest length", func(ctx context.Context) {
			longest := strings.Repeat("ü", eventstore.MaxNameBytes/2)
			f.append(ctx, eventstore.Append{Expect: expect(longest, 0), Events: event(longest, longest)})
			Expect(f.Load(ctx, f.tenant, longest, 0)).To(HaveLen(1))
		})

		It("do not hurt the others that come with them", func(ctx context.Context) {
			const writers = 40
			var lock sync.Mutex
			refused := 0
			together(writers, func(i int) error {
				request := eventstore.Append{Tenant: f.tenant, CommandID: uuid.New(), Events: events("a-1")}
				if i%4 == 0 {
					request.Events[0].Stream = "a\x00"
				}
				_, err := f.Append(ctx, request)
				if i%4 == 0 && err != nil {
					lock.Lock()
					defer lock.Unlock()
					refused++
					return nil
				}
				return err
			})
			Expect(refused).To(Equal(writers / 4))
			Expect(f.all(ctx, f.tenant)).To(HaveLen(writers - writers/4))
		})
	})
}

func clocks(open Open) {
	Describe("time", func() {
		f := with(open)

		It("is the node's clock in microseconds", func(ctx context.Context) {
			f.clock.advance(time.Hour)
			result := f.append(ctx, eventstore.Append{Events: events("a-1")})
			Expect(result.OccurredAt).To(Equal(f.clock.Now().UnixMicro()))
			Expect(f.all(ctx, f.tenant)[0].OccurredAt).To(Equal(result.OccurredAt))
		})

		It("never goes back where a clock does", func(ctx context.Context) {
			first := f.append(ctx, eventstore.Append{Events: events("a-1")})
			f.clock.advance(-eventstore.MaxClockLag)
			second := f.append(ctx, eventstore.Append{Events: events("a-1")})
			Expect(second.OccurredAt).To(Equal(first.OccurredAt))
			f.clock.advance(eventstore.MaxClockLag + time.Second)
			third := f.append(ctx, eventstore.Append{Events: events("a-1")})
			Expect(third.OccurredAt).To(Equal(first.OccurredAt + time.Second.Microseconds()))
			f.all(ctx, f.tenant)
		})

		It("refuses a node whose clock is too far behind, until it is set right", func(ctx context.Context) {
			f.append(ctx, eventstore.Append{Events: events("a-1")})
			f.clock.advance(-eventstore.MaxClockLag - time.Millisecond)
			Expect(f.refused(ctx, eventstore.Append{Events: events("a-1")})).To(MatchError(eventstore.ErrClockBehind))
			late := &clock{now: f.clock.Now()}
			node := open(ctx, eventstore.Config{Now: late.Now})
			DeferCleanup(node.Close)
			_, err := node.Append(ctx, eventstore.Append{Tenant: f.tenant, Events: events("a-1")})
			Expect(err).To(MatchError(eventstore.ErrClockBehind))
			late.advance(time.Minute)
			_, err = node.Append(ctx, eventstore.Append{Tenant: f.tenant, Events: events("a-1")})
			Expect(err).NotTo(HaveOccurred())
			f.clock.advance(time.Minute)
			f.append(ctx, eventstore.Append{Events: events("a-1")})
			Expect(f.all(ctx, f.tenant)).To(HaveLen(3))
		})
	})
}

func closing(open Open) {
	Describe("closing", func() {
		f := with(open)

		It("answers everybody who was let in and nobody after", func(ctx context.Context) {
			const writers = 200
			results := make(chan error, writers)
			for range writers {
				go func() {
					_, err := f.Append(ctx, eventstore.Append{Tenant: f.tenant, Events: events("a-1")})
					results <- err
				}()
			}
			ended, cancel := context.WithTimeout(ctx, bound)
			defer cancel()
			Expect(f.Close(ended)).To(Succeed())
			landed := 0
			for range writers {
				var err error
				Eventually(results, bound).Should(Receive(&err))
				if err == nil {
					landed++
				} else {
					Expect(err).To(MatchError(eventstore.ErrClosed))
				}
			}
			Expect(f.all(ctx, f.tenant)).To(HaveLen(landed))
			_, err := f.Append(ctx, eventstore.Append{Tenant: f.tenant, Events: events("a-1")})
			Expect(err).To(MatchError(eventstore.ErrClosed))
			Expect(f.Close(ended)).To(Succeed(), "twice")
		})
	})
}
