package projections

import (
	"testing"
	"time"
)

// caughtUpOnce is an agenda whose one key has been served and has caught up.
func caughtUpOnce(t *testing.T, rest time.Duration) (*agenda, key) {
	t.Helper()
	a, k := newAgenda(rest), key{tenant: "acme"}
	a.setOpen(true)
	a.push(k, false)
	_, one, found := a.pop(t.Context())
	if !found {
		t.Fatal("a key that was pushed is not served")
	}
	one.handled = worthwhile
	a.end(k, one, result{end: caughtUp})
	return a, k
}

func TestAKeyThatHasCaughtUpRestsFromWorkersAndNotFromWaiters(t *testing.T) {
	t.Parallel()
	a, k := caughtUpOnce(t, time.Hour)
	a.push(k, false)
	if _, _, found := a.take(); found {
		t.Error("a worker serves a key that rests")
	}
	if _, _, begun := a.begin(k); !begun {
		t.Error("a waiter can't begin a round of a key that rests")
	}
}

func TestAKeyIsServedWhenItHasRested(t *testing.T) {
	t.Parallel()
	a, k := caughtUpOnce(t, time.Millisecond)
	a.push(k, false)
	if got, _, found := a.pop(t.Context()); !found || got != k {
		t.Error("a key that was pushed during its rest is forgotten")
	}
}

func TestAKeyThatHasMoreToDoDoesNotRest(t *testing.T) {
	t.Parallel()
	a, k := caughtUpOnce(t, time.Hour)
	one, _, _ := a.begin(k)
	one.rested = time.Time{}
	a.again(one)
	a.end(k, one, result{end: unfinished})
	if _, _, found := a.take(); !found {
		t.Error("a key that is unfinished waits")
	}
}

func TestARestThatEndsAfterTheWorkersHaveStoppedQueuesNothing(t *testing.T) {
	t.Parallel()
	a, k := caughtUpOnce(t, time.Hour)
	a.push(k, false)
	a.setOpen(false)
	a.arise(k, a.known[k])
	if _, _, found := a.take(); found || a.known[k].queued {
		t.Error("a key is queued for workers that have stopped")
	}
}

func TestAKeyWithLittleToDoRestsLonger(t *testing.T) {
	t.Parallel()
	const rest = time.Second
	a := newAgenda(rest)
	for handled, want := range map[int]time.Duration{
		0: unconcerned * rest, 1: ofLittle * rest, 8: ofLittle * rest, 10: 3 * rest, 16: 2 * rest, 17: rest, 32: rest, 8000: rest,
	} {
		if got := a.restAfter(handled); got != want {
			t.Errorf("after %d events it rests for %s, want %s", handled, got, want)
		}
	}
}
