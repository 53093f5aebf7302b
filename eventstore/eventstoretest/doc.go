// Package eventstoretest holds the specs that anything must pass that takes the place of the event store.
//
// The invariant: the specs know a log by its interface only. Each of them works in tenants of its own, so that they may run on
// one database, in any order and at the same time as others.
//
//	var _ = eventstoretest.Conform("The store on PostgreSQL", func(ctx context.Context, config eventstore.Config) eventstoretest.Log {
//		return eventstore.New(pool, config)
//	})
package eventstoretest
