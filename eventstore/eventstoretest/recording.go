package eventstoretest

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/eventstore"
)

func recording(open Open) {
	Describe("what is recorded", func() {
		f := with(open)

		It("is what was appended, byte for byte", func(ctx context.Context) {
			command := uuid.New()
			all := make([]byte, 256)
			for i := range all {
				all[i] = byte(i)
			}
			meta := []byte("{ \"b\" : 1,\n\t\"a\" : 1, \"a\" : 2 }")
			f.append(ctx, eventstore.Append{CommandID: command, Meta: meta, Events: []eventstore.NewEvent{
				{Stream: "über-ключ-鍵", Type: "t.bytes.v1", Data: all},
				{Stream: "a-1", Type: "t.empty.v1"},
			}})
			chain := f.all(ctx, f.tenant)
			Expect(chain).To(HaveLen(2))
			Expect(chain[0].Stream).To(Equal("über-ключ-鍵"))
			Expect(chain[0].Type).To(Equal("t.bytes.v1"))
			Expect(chain[0].Data).To(Equal(all))
			Expect(chain[0].Meta).To(Equal(meta))
			Expect(chain[0].CommandID).To(Equal(command))
			Expect(chain[0].EventID.Version()).To(BeEquivalentTo(7))
			Expect(chain[0].Time()).To(BeTemporally("==", chain[0].Time().UTC()))
			Expect(chain[1].CommandID).To(Equal(command))
			Expect(chain[1].Data).To(BeEmpty())
			Expect(chain[1].OccurredAt).To(Equal(chain[0].OccurredAt))
		})

		It("gets a command id where it has none", func(ctx context.Context) {
			f.append(ctx, eventstore.Append{Events: events("a-1", "a-1")})
			f.append(ctx, eventstore.Append{Events: events("a-1")})
			chain := f.all(ctx, f.tenant)
			Expect(chain[0].CommandID).NotTo(Equal(uuid.Nil))
			Expect(chain[1].CommandID).To(Equal(chain[0].CommandID))
			Expect(chain[2].CommandID).NotTo(Equal(chain[0].CommandID))
		})

		It("may be big", func(ctx context.Context) {
			const size = eventstore.MaxEventBytes - 10
			data := make([]byte, size)
			copy(data[size/2:], "in the middle")
			f.append(ctx, eventstore.Append{Meta: []byte("0123456789"), Events: []eventstore.NewEvent{{Stream: "a-1", Type: "t.big.v1", Data: data}}})
			loaded, err := f.Load(ctx, f.tenant, "a-1", 0)
			Expect(err).NotTo(HaveOccurred())
			Expect(sha256.Sum256(loaded[0].Data)).To(Equal(sha256.Sum256(data)), "4 MiB make no readable failure")
			f.all(ctx, f.tenant)
		})

		It("may be many events at once", func(ctx context.Context) {
			const many = 3000
			var streams []string
			for i := range many {
				streams = append(streams, fmt.Sprintf("a-%d", i%7))
			}
			result := f.append(ctx, eventstore.Append{Expect: expect("a-0", 0), Events: events(streams...)})
			Expect(result.Last).To(BeEquivalentTo(many))
			Expect(f.all(ctx, f.tenant)).To(HaveLen(many))
		})
	})
}

func reading(open Open) {
	Describe("reading", func() {
		f := with(open)

		It("finds nothing where nothing is", func(ctx context.Context) {
			Expect(f.Load(ctx, f.tenant, "a-1", 0)).To(BeEmpty())
			Expect(f.Load(ctx, f.tenant, "no\x00stream", 0)).To(BeEmpty())
			Expect(f.Load(ctx, f.tenant, "bad utf-8 \xff", 0)).To(BeEmpty())
			Expect(f.Read(ctx, f.tenant, 0, 10)).To(BeEmpty())
			Expect(f.Head(ctx, f.tenant)).To(Equal(eventstore.Head{Hash: eventstore.Genesis(f.tenant)}))
			_, found, err := f.Recall(ctx, f.tenant, uuid.New())
			Expect(err).NotTo(HaveOccurred())
			Expect(found).To(BeFalse())
		})

		It("loads a stream from a version on", func(ctx context.Context) {
			f.append(ctx, eventstore.Append{Events: events("a-1", "b-1", "a-1", "a-1")})
			loaded, err := f.Load(ctx, f.tenant, "a-1", 1)
			Expect(err).NotTo(HaveOccurred())
			Expect(loaded).To(HaveLen(2))
			Expect(loaded[0].Version).To(BeEquivalentTo(2))
			Expect(loaded[0].Position).To(BeEquivalentTo(3))
			Expect(loaded[1].Version).To(BeEquivalentTo(3))
			Expect(loaded[0].Tenant).To(Equal(f.tenant))
			Expect(f.Load(ctx, f.tenant, "a-1", 3)).To(BeEmpty())
			Expect(f.Load(ctx, f.tenant, "a-", 0)).To(BeEmpty(), "a prefix is another stream")
		})

		It("reads the chain in pages", func(ctx context.Context) {
			f.append(ctx, eventstore.Append{Events: events("a-1", "b-1", "a-1", "a-1", "c-1")})
			first, err := f.Read(ctx, f.tenant, 0, 2)
			Expect(err).NotTo(HaveOccurred())
			Expect(first).To(HaveLen(2))
			rest, err := f.Read(ctx, f.tenant, 2, 100)
			Expect(err).NotTo(HaveOccurred())
			Expect(rest).To(HaveLen(3))
			expectIntact(f.tenant, append(first, rest...))
			Expect(f.Read(ctx, f.tenant, 5, 100)).To(BeEmpty())
		})

		It("ends with its context", func(ctx context.Context) {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			_, err := f.Read(ctx, f.tenant, 0, 1)
			Expect(err).To(MatchError(context.Canceled))
			_, err = f.Load(ctx, f.tenant, "a-1", 0)
			Expect(err).To(MatchError(context.Canceled))
			_, err = f.Head(ctx, f.tenant)
			Expect(err).To(MatchError(context.Canceled))
			_, _, err = f.Recall(ctx, f.tenant, uuid.New())
			Expect(err).To(MatchError(context.Canceled))
			_, _, err = f.Memorize(ctx, f.tenant, uuid.New(), nil, nil)
			Expect(err).To(MatchError(context.Canceled))
			_, err = f.Append(ctx, eventstore.Append{Tenant: f.tenant, Events: events("a-1")})
			Expect(err).To(MatchError(context.Canceled))
		})
	})
}
