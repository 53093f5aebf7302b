package eventstoretest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/eventstore"
)

func concurrency(open Open) {
	Describe("many writers", func() {
		const writers, each = 64, 8
		f := with(open)

		It("leave no gap in positions and versions", func(ctx context.Context) {
			together(writers, func(i int) error {
				stream := fmt.Sprintf("a-%d", i)
				for version := range int64(each) {
					result, err := f.Append(ctx, eventstore.Append{
						Tenant: f.tenant, Expect: expect(stream, version), Events: events(stream, "shared-1"),
					})
					if err != nil {
						return fmt.Errorf("writer %d: %w", i, err)
					}
					if result.Last != result.First+1 || result.Versions[stream] != version+1 {
						return fmt.Errorf("writer %d got %+v", i, result)
					}
				}
				return nil
			})
			Expect(f.all(ctx, f.tenant)).To(HaveLen(2 * writers * each))
			Expect(f.Load(ctx, f.tenant, "shared-1", writers*each-1)).To(HaveLen(1))
		})

		It("in several tenants leave each its own chain", func(ctx context.Context) {
			const tenants = 8
			tenant := func(i int) string { return fmt.Sprintf("%s-%d", f.tenant, i%tenants) }
			together(writers, func(i int) error {
				for range each {
					if _, err := f.Append(ctx, eventstore.Append{Tenant: tenant(i), Events: events("a-1")}); err != nil {
						return err
					}
				}
				return nil
			})
			for i := range tenants {
				Expect(f.all(ctx, tenant(i))).To(HaveLen(writers / tenants * each))
			}
		})

		It("with one expected version: exactly one wins, round after round", func(ctx context.Context) {
			node := open(ctx, eventstore.Config{Now: f.clock.Now})
			DeferCleanup(node.Close)
			logs := []Log{f.Log, node}
			for version := range int64(each) {
				var won, lost atomic.Int64
				together(writers, func(i int) error {
					_, err := logs[i%len(logs)].Append(ctx, eventstore.Append{Tenant: f.tenant, Expect: expect("a-1", version), Events: events("a-1")})
					var conflict *eventstore.ConflictError
					switch {
					case err == nil:
						won.Add(1)
					case errors.As(err, &conflict) && conflict.Actual == version+1:
						lost.Add(1)
					default:
						return err
					}
					return nil
				})
				Expect(won.Load()).To(BeEquivalentTo(1))
				Expect(lost.Load()).To(BeEquivalentTo(writers - 1))
			}
			Expect(f.all(ctx, f.tenant)).To(HaveLen(each))
		})

		It("in their hundreds, on two nodes, with expectations that hold and that don't: what was acknowledged is there once", func(ctx context.Context) {
			const many, rounds, shared = 600, 6, 8
			node := open(ctx, eventstore.Config{Now: f.clock.Now})
			DeferCleanup(node.Close)
			logs := []Log{f.Log, node}
			var acknowledged atomic.Int64
			together(many, func(i int) error {
				own := fmt.Sprintf("own-%d", i)
				for round := range int64(rounds) {
					// A stream that others write too, at a version that is right now and then.
					contested := fmt.Sprintf("shared-%d", i%shared)
					switch _, err := logs[i%len(logs)].Append(ctx, eventstore.Append{Tenant: f.tenant, Expect: expect(contested, round), Events: events(contested)}); {
					case err == nil:
						acknowledged.Add(1)
					case wantConflict(err) != nil:
						return err
					}
					result, err := logs[i%len(logs)].Append(ctx, eventstore.Append{Tenant: f.tenant, Expect: expect(own, round), Events: events(own)})
					if err != nil {
						return fmt.Errorf("writer %d: %w", i, err)
					}
					if result.Versions[own] != round+1 {
						return fmt.Errorf("writer %d got %+v", i, result)
					}
				}
				return nil
			})
			Expect(f.all(ctx, f.tenant)).To(HaveLen(many*rounds + int(acknowledged.Load())))
			Expect(acknowledged.Load()).To(BeNumerically("<=", shared*rounds))
		})

		It("that retry with the version they were told all get through", func(ctx context.Context) {
			together(writers, func(int) error {
				for version := int64(0); ; {
					_, err := f.Append(ctx, eventstore.Append{Tenant: f.tenant, Expect: expect("a-1", version), Events: events("a-1")})
					var conflict *eventstore.ConflictError
					if !errors.As(err, &conflict) {
						return err
					}
					version = conflict.Actual
				}
			})
			Expect(f.all(ctx, f.tenant)).To(HaveLen(writers))
		})

		It("are refused alone: others in the same batch don't suffer, and what they expect of each other is right", func(ctx context.Context) {
			f.append(ctx, eventstore.Append{Events: events("known-1", "known-1", "known-1", "known-1", "known-1", "late-1")})
			together(writers, func(i int) error {
				switch i % 4 {
				case 0: // wrong on one stream, too far ahead on another that others write
					_, err := f.Append(ctx, eventstore.Append{
						Tenant: f.tenant, Expect: map[string]int64{"known-1": 5000, "late-1": 0}, Events: events("known-1"),
					})
					return wantConflict(err)
				case 1:
					_, err := f.Append(ctx, eventstore.Append{Tenant: f.tenant, Expect: expect(fmt.Sprintf("none-%d", i), 3), Events: events("known-1")})
					return wantConflict(err)
				default:
					_, err := f.Append(ctx, eventstore.Append{Tenant: f.tenant, Expect: expect(fmt.Sprintf("b-%d", i), 0), Events: events("known-1", fmt.Sprintf("b-%d", i))})
					return err
				}
			})
			Expect(f.all(ctx, f.tenant)).To(HaveLen(6 + writers))
		})

		It("that give up do not cancel others", func(ctx context.Context) {
			together(writers, func(i int) error {
				ctx, cancel := context.WithCancel(ctx)
				defer cancel()
				if i%2 == 0 {
					go cancel()
				}
				_, err := f.Append(ctx, eventstore.Append{Tenant: f.tenant, Events: events(fmt.Sprintf("a-%d", i))})
				if i%2 == 0 && errors.Is(err, context.Canceled) {
					return nil
				}
				return err
			})
			ended, cancel := context.WithTimeout(ctx, bound)
			defer cancel()
			Expect(f.Close(ended)).To(Succeed()) // what was sent has landed
			streams := map[string]bool{}
			for _, e := range f.all(ctx, f.tenant) {
				streams[e.Stream] = true
			}
			for i := 1; i < writers; i += 2 {
				Expect(streams).To(HaveKey(fmt.Sprintf("a-%d", i)))
			}
		})
	})
}

// wantConflict turns a conflict into success and the other way round.
func wantConflict(err error) error {
	if _, ok := errors.AsType[*eventstore.ConflictError](err); ok {
		return nil
	}
	return fmt.Errorf("want a conflict, got %w", err)
}
