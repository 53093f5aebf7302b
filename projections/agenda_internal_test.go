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
	one.found = true
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

func TestAKeyWithoutEventsOfItsOwnRestsLonger(t *testing.T) {
	t.Parallel()
	const rest = time.Hour
	a, k := caughtUpOnce(t, rest)
	one, _, _ := a.begin(k)
	one.found = false
	a.end(k, one, result{end: caughtUp})
	if left := time.Until(one.rested); left <= rest {
		t.Errorf("it rests for %s", left)
	}
}
