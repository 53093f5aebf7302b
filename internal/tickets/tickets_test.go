package tickets_test

import (
	"context"
	"encoding/base64"
	"errors"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/archonhq/archon/internal/auth"
	"github.com/archonhq/archon/internal/tickets"
)

// clock is a time that goes by when it is told to.
type clock struct{ now atomic.Int64 }

func (c *clock) time() time.Time { return time.Unix(c.now.Load(), 0) }

func newClock() *clock {
	c := &clock{}
	c.now.Store(1_750_000_000)
	return c
}

func caller(c *clock) auth.Principal {
	return auth.Principal{
		Tenant: "acme", UserID: "ada", Name: "Ada", Roles: []auth.Role{auth.RoleAuditor, auth.RoleViewer}, ExpiresAt: c.time().Add(time.Hour).UTC(),
	}
}

// nodes are Tickets of one deployment over one Redis.
func nodes(t *testing.T, c *clock, n int) ([]*tickets.Tickets, *miniredis.Miniredis) {
	t.Helper()
	server := miniredis.RunT(t)
	all := make([]*tickets.Tickets, n)
	for i := range all {
		client := redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1})
		t.Cleanup(func() { _ = client.Close() })
		made, err := tickets.New([]byte("a secret of the deployment"), client, nil, c.time)
		if err != nil {
			t.Fatal(err)
		}
		all[i] = made
	}
	return all, server
}

func issue(t *testing.T, by *tickets.Tickets, holder auth.Principal) string {
	t.Helper()
	ticket, _, err := by.Issue(holder)
	if err != nil {
		t.Fatal(err)
	}
	return ticket
}

func TestATicketStandsForItsCallerOnceOnAnyNode(t *testing.T) {
	t.Parallel()
	c := newClock()
	all, _ := nodes(t, c, 2)
	want := caller(c)
	ticket, expiresAt, err := all[0].Issue(want)
	if err != nil || !expiresAt.Equal(c.time().Add(tickets.TTL)) {
		t.Fatalf("until %s, %v", expiresAt, err)
	}
	if strings.Contains(ticket, "acme") || strings.ContainsAny(ticket, "+/=&?") {
		t.Errorf("%s is not for a URL, or tells whose it is", ticket)
	}
	got, err := all[1].Redeem(context.Background(), ticket)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, %v", got, err)
	}
	for _, node := range all {
		if got, err := node.Redeem(context.Background(), ticket); !errors.Is(err, tickets.ErrInvalid) || got.Tenant != "" {
			t.Errorf("again: %+v, %v", got, err)
		}
	}
}

func TestATicketCountsOnceForManyAtOnce(t *testing.T) {
	t.Parallel()
	c := newClock()
	all, _ := nodes(t, c, 3)
	for range 20 {
		ticket := issue(t, all[0], caller(c))
		var good atomic.Int32
		var group sync.WaitGroup
		for i := range 12 {
			group.Go(func() {
				if _, err := all[i%3].Redeem(context.Background(), ticket); err == nil {
					good.Add(1)
				}
			})
		}
		group.Wait()
		if good.Load() != 1 {
			t.Fatalf("%d got in", good.Load())
		}
	}
}

func TestATicketExpiresAndNoLaterThanItsToken(t *testing.T) {
	t.Parallel()
	c := newClock()
	all, _ := nodes(t, c, 1)
	whole, short := issue(t, all[0], caller(c)), caller(c)
	short.ExpiresAt = c.time().Add(5 * time.Second)
	part := issue(t, all[0], short)
	c.now.Add(5)
	if _, err := all[0].Redeem(context.Background(), part); !errors.Is(err, tickets.ErrInvalid) {
		t.Errorf("with the token: %v", err)
	}
	other := issue(t, all[0], caller(c))
	c.now.Add(25)
	if _, err := all[0].Redeem(context.Background(), whole); !errors.Is(err, tickets.ErrInvalid) {
		t.Errorf("by itself: %v", err)
	}
	if _, err := all[0].Redeem(context.Background(), other); err != nil {
		t.Errorf("before that: %v", err)
	}
}

func TestWithoutRedisEachNodeStillTakesATicketOnce(t *testing.T) {
	t.Parallel()
	c := newClock()
	all, server := nodes(t, c, 1)
	server.Close()
	ticket := issue(t, all[0], caller(c))
	if _, err := all[0].Redeem(context.Background(), ticket); err != nil {
		t.Fatal(err)
	}
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	if _, err := all[0].Redeem(context.Background(), ticket); !errors.Is(err, tickets.ErrInvalid) {
		t.Errorf("again, with Redis back: %v", err)
	}
}

func TestWhatIsNoTicketOfOursIsRefused(t *testing.T) {
	t.Parallel()
	c := newClock()
	all, _ := nodes(t, c, 1)
	ticket := issue(t, all[0], caller(c))
	foreign, err := tickets.New([]byte("another deployment"), redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"}), nil, c.time)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{
		"", "v1.", "v1.AAAA", ticket + "A", ticket[:len(ticket)-1], strings.Replace(ticket, "v1.", "v2.", 1), strings.TrimPrefix(ticket, "v1."), ticket + "=", ticket + "\n",
		issue(t, foreign, caller(c)), "v1." + strings.Repeat("A", 1<<20),
	} {
		if _, err := all[0].Redeem(context.Background(), bad); !errors.Is(err, tickets.ErrInvalid) {
			t.Errorf("%.80q: %v", bad, err)
		}
	}
	sealed, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(ticket, "v1."))
	if err != nil {
		t.Fatal(err)
	}
	for i := range sealed {
		changed := append([]byte{}, sealed...)
		changed[i] ^= 1
		if _, err := all[0].Redeem(context.Background(), "v1."+base64.RawURLEncoding.EncodeToString(changed)); !errors.Is(err, tickets.ErrInvalid) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
	if _, err := all[0].Redeem(context.Background(), ticket); err != nil {
		t.Errorf("the ticket itself: %v", err)
	}
}
