package privacy_test

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/archonhq/archon/internal/secrets"
)

// faultyStore is a store whose calls are counted and can be made to fail or to hang.
type faultyStore struct {
	secrets.Store

	gets, puts atomic.Int64

	mu      sync.Mutex
	failure error
	hang    time.Duration
	// beforePut runs before the next check-and-set, once.
	beforePut func()
	// destroyFailure is what DestroyVersions fails with.
	destroyFailure error
}

func (f *faultyStore) set(change func(*faultyStore)) {
	f.mu.Lock()
	defer f.mu.Unlock()

	change(f)
}

func (f *faultyStore) fail(err error) { f.set(func(f *faultyStore) { f.failure = err }) }

func (f *faultyStore) fault(ctx context.Context) error {
	f.mu.Lock()
	failure, hang := f.failure, f.hang
	f.mu.Unlock()

	if hang > 0 {
		select {
		case <-time.After(hang):
		case <-ctx.Done():
			return ctx.Err()
		}
	}

	return failure
}

func (f *faultyStore) Get(ctx context.Context, path string, version int) (map[string]string, int, error) {
	f.gets.Add(1)

	if err := f.fault(ctx); err != nil {
		return nil, 0, err
	}

	return f.Store.Get(ctx, path, version)
}

func (f *faultyStore) PutIfVersion(ctx context.Context, path string, expected int, value map[string]string) (int, error) {
	f.puts.Add(1)

	if err := f.fault(ctx); err != nil {
		return 0, err
	}

	f.mu.Lock()
	before := f.beforePut
	f.beforePut = nil
	f.mu.Unlock()

	if before != nil {
		before()
	}

	return f.Store.PutIfVersion(ctx, path, expected, value)
}

func (f *faultyStore) DestroyVersions(ctx context.Context, path string, versions ...int) error {
	f.mu.Lock()
	failure := f.destroyFailure
	f.mu.Unlock()

	if failure != nil {
		return failure
	}

	return f.Store.DestroyVersions(ctx, path, versions...)
}
