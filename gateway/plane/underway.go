package plane

import (
	"context"
	"sync"
)

// underway counts what is being done, so that it can be waited for. Unlike with a sync.WaitGroup something more may begin
// while somebody waits: a call that ends leaves work behind.
type underway struct {
	mu    sync.Mutex
	count int
	none  chan struct{} // closed when the count comes to 0; nil while nobody waits
}

func (u *underway) begin() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.count++
}

func (u *underway) end() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.count--
	if u.count == 0 && u.none != nil {
		close(u.none)
		u.none = nil
	}
}

// wait returns once nothing is under way, or with the cause of ctx's end.
func (u *underway) wait(ctx context.Context) error {
	u.mu.Lock()
	if u.count == 0 {
		u.mu.Unlock()
		return nil
	}
	if u.none == nil {
		u.none = make(chan struct{})
	}
	none := u.none
	u.mu.Unlock()
	select {
	case <-none:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx) //nolint:wrapcheck // the caller knows what it waits for
	}
}
