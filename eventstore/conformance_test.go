package eventstore_test

import (
	"context"

	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/eventstore/eventstoretest"
)

var _ = eventstoretest.Conform("The store on PostgreSQL", func(ctx context.Context, config eventstore.Config) eventstoretest.Log {
	const conns = 8
	return eventstore.New(poolOf(ctx, shared, "archon_app", conns), config)
})
