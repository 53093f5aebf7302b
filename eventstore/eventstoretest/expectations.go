package eventstoretest

import (
	"context"
	"errors"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/eventstore"
)

// expectConflict checks the facts that a conflict carries.
func expectConflict(err error, stream string, expected, actual int64) {
	GinkgoHelper()
	var conflict *eventstore.ConflictError
	Expect(errors.As(err, &conflict)).To(BeTrue(), "%v", err)
	Expect(*conflict).To(Equal(eventstore.ConflictError{Stream: stream, Expected: expected, Actual: actual}))
}

func expectations(open Open) {
	Describe("expected versions", func() {
		f := with(open)

		It("begins a stream at 0 and continues it at what it has", func(ctx context.Context) {
			for version := range int64(5) {
				result := f.append(ctx, eventstore.Append{Expect: expect("a-1", version), Events: events("a-1")})
				Expect(result.First).To(Equal(version + 1))
				Expect(result.Last).To(Equal(version + 1))
				Expect(result.Versions).To(Equal(expect("a-1", version+1)))
			}
		})

		DescribeTable("refuses", func(ctx context.Context, expected int64) {
			f.append(ctx, eventstore.Append{Events: events("a-1", "a-1", "a-1")})
			err := f.refused(ctx, eventstore.Append{Expect: expect("a-1", expected), Events: events("a-1")})
			expectConflict(err, "a-1", expected, 3)
		}, Entry("a new stream that exists", int64(0)), Entry("a stale version", int64(2)), Entry("a version to come", int64(4)),
			Entry("a far one", int64(1)<<62))

		It("refuses a version of a stream that does not exist", func(ctx context.Context) {
			expectConflict(f.refused(ctx, eventstore.Append{Expect: expect("a-1", 1), Events: events("a-1")}), "a-1", 1, 0)
		})

		It("is refused again and again, and succeeds when it is right", func(ctx context.Context) {
			f.append(ctx, eventstore.Append{Events: events("a-1")})
			for range 3 {
				expectConflict(f.refused(ctx, eventstore.Append{Expect: expect("a-1", 2), Events: events("a-1")}), "a-1", 2, 1)
			}
			f.append(ctx, eventstore.Append{Events: events("a-1")})
			f.append(ctx, eventstore.Append{Expect: expect("a-1", 2), Events: events("a-1")})
			Expect(f.all(ctx, f.tenant)).To(HaveLen(3))
		})

		It("takes any version where none is expected", func(ctx context.Context) {
			for version := range int64(3) {
				Expect(f.append(ctx, eventstore.Append{Events: events("a-1")}).Versions).To(Equal(expect("a-1", version+1)))
			}
		})

		It("holds streams that are only read", func(ctx context.Context) {
			f.append(ctx, eventstore.Append{Events: events("read-1")})
			f.append(ctx, eventstore.Append{Expect: map[string]int64{"read-1": 1, "a-1": 0, "none-1": 0}, Events: events("a-1")})
			Expect(f.all(ctx, f.tenant)).To(HaveLen(2))
			err := f.refused(ctx, eventstore.Append{Expect: map[string]int64{"read-1": 0, "a-1": 1}, Events: events("a-1")})
			expectConflict(err, "read-1", 0, 1)
			err = f.refused(ctx, eventstore.Append{Expect: map[string]int64{"none-1": 1, "a-1": 1}, Events: events("a-1")})
			expectConflict(err, "none-1", 1, 0)
		})

		It("writes several streams or none", func(ctx context.Context) {
			result := f.append(ctx, eventstore.Append{
				Expect: map[string]int64{"a-1": 0, "b-1": 0}, Events: events("a-1", "b-1", "a-1", "c-1"),
			})
			Expect(result.First).To(BeEquivalentTo(1))
			Expect(result.Last).To(BeEquivalentTo(4))
			Expect(result.Versions).To(Equal(map[string]int64{"a-1": 2, "b-1": 1, "c-1": 1}))
			err := f.refused(ctx, eventstore.Append{Expect: map[string]int64{"a-1": 2, "b-1": 0}, Events: events("a-1", "b-1")})
			expectConflict(err, "b-1", 0, 1)
			Expect(f.all(ctx, f.tenant)).To(HaveLen(4))
		})

		It("keeps tenants apart", func(ctx context.Context) {
			f.append(ctx, eventstore.Append{Expect: expect("a-1", 0), Events: events("a-1")})
			other := f.tenant + "-2"
			result, err := f.Append(ctx, eventstore.Append{Tenant: other, Expect: expect("a-1", 0), Events: events("a-1")})
			Expect(err).NotTo(HaveOccurred())
			Expect(result.First).To(BeEquivalentTo(1))
			Expect(f.all(ctx, other)).To(HaveLen(1))
			Expect(f.Load(ctx, f.tenant, "a-1", 0)).To(HaveLen(1))
		})
	})
}
