package eventstoretest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/eventstore"
)

// once is a command that may come again: its answer names the position and version that it got.
func once(command uuid.UUID, stream string) eventstore.Append {
	return eventstore.Append{CommandID: command, Expect: expect(stream, 0), Events: events(stream, stream), Remember: eventstore.Remember{
		Fingerprint: []byte("print"),
		Answer: func(written []eventstore.Recorded) ([]byte, error) {
			return fmt.Appendf(nil, "%s %d@%d", written[0].Stream, written[0].Version, written[0].Position), nil
		},
	}}
}

func idempotency(open Open) {
	Describe("a command that comes twice", func() {
		f := with(open)

		It("has one effect and one answer", func(ctx context.Context) {
			command := uuid.New()
			f.append(ctx, eventstore.Append{Events: events("other-1")})
			first := f.append(ctx, once(command, "a-1"))
			Expect(first.Duplicate).To(BeFalse())
			Expect(string(first.Answer)).To(Equal("a-1 1@2"))
			again := f.append(ctx, once(command, "a-1"))
			Expect(again).To(Equal(eventstore.Result{
				First: 2, Last: 3, Duplicate: true, Fingerprint: []byte("print"), Answer: []byte("a-1 1@2"),
			}))
			Expect(f.all(ctx, f.tenant)).To(HaveLen(3))
		})

		It("has the first one's answer, whatever it says now", func(ctx context.Context) {
			command := uuid.New()
			f.append(ctx, once(command, "a-1"))
			for _, repeated := range []eventstore.Append{
				{CommandID: command, Events: events("b-1")},
				{CommandID: command, Expect: expect("a-1", 0), Events: events("a-1")},
				{CommandID: command, Expect: expect("a-1", 77), Events: events("a-1")},
				{CommandID: command, Expect: map[string]int64{"a-1": 1, "b-1": 9}, Events: events("a-1")},
			} {
				again := f.append(ctx, repeated)
				Expect(again.Duplicate).To(BeTrue())
				Expect(string(again.Answer)).To(Equal("a-1 1@1"))
				Expect(string(again.Fingerprint)).To(Equal("print"))
			}
			Expect(f.all(ctx, f.tenant)).To(HaveLen(2))
		})

		It("is known to another node, which has not seen the first", func(ctx context.Context) {
			command := uuid.New()
			node := open(ctx, eventstore.Config{Now: f.clock.Now})
			DeferCleanup(node.Close)
			_, err := node.Append(ctx, eventstore.Append{Tenant: f.tenant, Events: events("a-2")}) // it knows the head from now on
			Expect(err).NotTo(HaveOccurred())
			f.append(ctx, once(command, "a-1"))
			request := once(command, "a-1")
			request.Tenant = f.tenant
			again, err := node.Append(ctx, request)
			Expect(err).NotTo(HaveOccurred())
			Expect(again.Duplicate).To(BeTrue())
			Expect(f.all(ctx, f.tenant)).To(HaveLen(3))
		})

		It("is remembered with its events", func(ctx context.Context) {
			command := uuid.New()
			f.append(ctx, once(command, "a-1"))
			remembered, found, err := f.Recall(ctx, f.tenant, command)
			Expect(err).NotTo(HaveOccurred())
			Expect(found).To(BeTrue())
			Expect(remembered).To(Equal(eventstore.Remembered{First: 1, Last: 2, Fingerprint: []byte("print"), Answer: []byte("a-1 1@1")}))
		})

		It("is not remembered where it was refused", func(ctx context.Context) {
			command := uuid.New()
			f.append(ctx, eventstore.Append{Events: events("a-1")})
			expectConflict(f.refused(ctx, once(command, "a-1")), "a-1", 0, 1)
			_, found, err := f.Recall(ctx, f.tenant, command)
			Expect(err).NotTo(HaveOccurred())
			Expect(found).To(BeFalse())
			Expect(f.append(ctx, once(command, "b-1")).Duplicate).To(BeFalse())
		})

		It("belongs to its tenant", func(ctx context.Context) {
			command := uuid.New()
			f.append(ctx, once(command, "a-1"))
			request := once(command, "a-1")
			request.Tenant = f.tenant + "-2"
			result, err := f.Append(ctx, request)
			Expect(err).NotTo(HaveOccurred())
			Expect(result.Duplicate).To(BeFalse())
		})

		It("is forgotten after its time", func(ctx context.Context) {
			command := uuid.New()
			short := once(command, "a-1")
			short.Remember.TTL = time.Minute
			f.append(ctx, short)
			f.clock.advance(59 * time.Second)
			Expect(f.append(ctx, eventstore.Append{CommandID: command, Events: events("a-1")}).Duplicate).To(BeTrue())
			f.clock.advance(2 * time.Second)
			_, found, err := f.Recall(ctx, f.tenant, command)
			Expect(err).NotTo(HaveOccurred())
			Expect(found).To(BeFalse())
			expectConflict(f.refused(ctx, short), "a-1", 0, 2)
			result := f.append(ctx, once(command, "b-1"))
			Expect(result.Duplicate).To(BeFalse())
			Expect(string(result.Answer)).To(Equal("b-1 1@3"))
			Expect(f.append(ctx, once(command, "b-1")).Duplicate).To(BeTrue())
			Expect(f.all(ctx, f.tenant)).To(HaveLen(4))
		})

		It("is remembered for a day by default", func(ctx context.Context) {
			command := uuid.New()
			f.append(ctx, once(command, "a-1"))
			f.clock.advance(eventstore.DefaultRememberTTL - time.Second)
			Expect(f.append(ctx, once(command, "a-1")).Duplicate).To(BeTrue())
			f.clock.advance(2 * time.Second)
			expectConflict(f.refused(ctx, once(command, "a-1")), "a-1", 0, 2)
		})

		It("has one effect where it comes fifty times at once, on two nodes", func(ctx context.Context) {
			const times = 50
			command := uuid.New()
			node := open(ctx, eventstore.Config{Now: f.clock.Now})
			DeferCleanup(node.Close)
			logs := []Log{f.Log, node}
			var lock sync.Mutex
			var effects int
			answers := map[string]int{}
			together(times, func(i int) error {
				request := once(command, "a-1")
				request.Tenant = f.tenant
				result, err := logs[i%len(logs)].Append(ctx, request)
				lock.Lock()
				defer lock.Unlock()
				answers[string(result.Answer)]++
				if !result.Duplicate {
					effects++
				}
				return err
			})
			Expect(effects).To(Equal(1))
			Expect(answers).To(Equal(map[string]int{"a-1 1@1": times}))
			Expect(f.all(ctx, f.tenant)).To(HaveLen(2))
		})

		It("may have an answer that can't be made, which concerns nobody else", func(ctx context.Context) {
			fault := errors.New("no answer")
			failing := once(uuid.New(), "a-1")
			failing.Remember.Answer = func([]eventstore.Recorded) ([]byte, error) { return nil, fault }
			Expect(f.refused(ctx, failing)).To(MatchError(fault))
			failing.Remember.Answer = func([]eventstore.Recorded) ([]byte, error) { panic("at the wrong moment") }
			Expect(f.refused(ctx, failing)).To(MatchError(ContainSubstring("at the wrong moment")))
			failing.Remember.Answer = func([]eventstore.Recorded) ([]byte, error) { return make([]byte, eventstore.MaxEventBytes+1), nil }
			Expect(f.refused(ctx, failing)).To(MatchError(eventstore.ErrInvalid))
			Expect(f.append(ctx, once(failing.CommandID, "a-1")).Duplicate).To(BeFalse())
			Expect(f.all(ctx, f.tenant)).To(HaveLen(2))
		})
	})

	Describe("a command that appends nothing", func() {
		f := with(open)

		It("is remembered once", func(ctx context.Context) {
			command := uuid.New()
			f.append(ctx, eventstore.Append{Events: events("a-1", "a-1")})
			remembered, first, err := f.Memorize(ctx, f.tenant, command, []byte("p1"), []byte("404"))
			Expect(err).NotTo(HaveOccurred())
			Expect(first).To(BeTrue())
			Expect(remembered).To(Equal(eventstore.Remembered{First: 2, Last: 2, Fingerprint: []byte("p1"), Answer: []byte("404")}))
			again, first, err := f.Memorize(ctx, f.tenant, command, []byte("p2"), []byte("409"))
			Expect(err).NotTo(HaveOccurred())
			Expect(first).To(BeFalse())
			Expect(again).To(Equal(remembered))
			recalled, found, err := f.Recall(ctx, f.tenant, command)
			Expect(err).NotTo(HaveOccurred())
			Expect(found).To(BeTrue())
			Expect(recalled).To(Equal(remembered))
			Expect(f.append(ctx, once(command, "b-1")).Duplicate).To(BeTrue())
			Expect(f.all(ctx, f.tenant)).To(HaveLen(2))
		})

		It("is remembered in a tenant without events, for a day", func(ctx context.Context) {
			command := uuid.New()
			remembered, _, err := f.Memorize(ctx, f.tenant, command, nil, nil)
			Expect(err).NotTo(HaveOccurred())
			Expect(remembered.First).To(BeZero())
			f.clock.advance(eventstore.DefaultRememberTTL + time.Second)
			_, first, err := f.Memorize(ctx, f.tenant, command, []byte("p2"), nil)
			Expect(err).NotTo(HaveOccurred())
			Expect(first).To(BeTrue())
		})

		It("does not overwrite what an append remembers", func(ctx context.Context) {
			command := uuid.New()
			f.append(ctx, once(command, "a-1"))
			remembered, first, err := f.Memorize(ctx, f.tenant, command, []byte("p2"), []byte("409"))
			Expect(err).NotTo(HaveOccurred())
			Expect(first).To(BeFalse())
			Expect(string(remembered.Answer)).To(Equal("a-1 1@1"))
		})

		It("and its twin that appends agree, in whichever order they come", func(ctx context.Context) {
			const races = 40
			var appended, memorized int
			for i := range races {
				command, stream := uuid.New(), fmt.Sprintf("a-%d", i)
				var duplicate, first bool
				together(2, func(twin int) error {
					if twin == 0 {
						request := once(command, stream)
						request.Tenant = f.tenant
						result, err := f.Append(ctx, request)
						duplicate = result.Duplicate
						return err
					}
					_, memorizedFirst, err := f.Memorize(ctx, f.tenant, command, []byte("p2"), []byte("409"))
					first = memorizedFirst
					return err
				})
				Expect(duplicate).To(Equal(first), "one of them came first")
				loaded, err := f.Load(ctx, f.tenant, stream, 0)
				Expect(err).NotTo(HaveOccurred())
				remembered, _, err := f.Recall(ctx, f.tenant, command)
				Expect(err).NotTo(HaveOccurred())
				if first {
					memorized++
					Expect(loaded).To(BeEmpty())
					Expect(string(remembered.Answer)).To(Equal("409"))
				} else {
					appended++
					Expect(loaded).To(HaveLen(2))
					Expect(string(remembered.Answer)).To(HavePrefix(stream))
				}
			}
			AddReportEntry("appended first", appended)
			AddReportEntry("memorized first", memorized)
		})
	})
}
