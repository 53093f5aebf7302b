package privacy_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/archonhq/archon/internal/privacy"
	"github.com/archonhq/archon/internal/secrets"
)

// node is a keeper in a bubble where time passes at once.
type node struct {
	t      *testing.T
	store  *faultyStore
	keeper *privacy.Keeper
}

func inBubble(t *testing.T, cfg privacy.Config, body func(node)) {
	t.Helper()

	dir := t.TempDir()

	synctest.Test(t, func(t *testing.T) {
		embedded, err := secrets.OpenEmbedded(dir)
		if err != nil {
			t.Fatal(err)
		}

		store := &faultyStore{Store: embedded}
		body(node{t: t, store: store, keeper: privacy.NewKeeperWith(store, cfg)})
	})
}

// pass lets time pass in the bubble, which takes none outside.
func (n node) pass(d time.Duration) {
	n.t.Helper()
	<-time.After(d)
	synctest.Wait()
}

func (n node) seal() privacy.Envelope {
	n.t.Helper()

	envelope, err := n.keeper.Seal(n.t.Context(), tenant, subject, []byte("x"))
	if err != nil {
		n.t.Fatal(err)
	}

	return envelope
}

func (n node) openError(envelope privacy.Envelope) error {
	n.t.Helper()

	_, err := n.keeper.Open(n.t.Context(), tenant, envelope)

	return err
}

func (n node) eraseElsewhere() {
	n.t.Helper()

	if err := privacy.NewKeeper(n.store).Erase(n.t.Context(), tenant, subject); err != nil {
		n.t.Fatal(err)
	}
}

func TestAnErasureElsewhereIsNoticedWithinTheTTL(t *testing.T) {
	t.Parallel()

	inBubble(t, privacy.Config{}, func(n node) {
		old := n.seal()
		n.pass(time.Second)
		n.eraseElsewhere()

		if err := n.openError(old); err != nil {
			n.t.Errorf("the key is remembered for a minute: %v", err)
		}

		n.pass(time.Minute)

		if err := n.openError(old); !errors.Is(err, privacy.ErrErased) {
			n.t.Errorf("got %v, want ErrErased", err)
		}

		if sealed := n.seal(); sealed.KeyID != privacy.KeyID(tenant, subject, 1) {
			n.t.Error("sealed with the key that is gone")
		}
	})
}

func TestKeysAreRememberedForTheTTL(t *testing.T) {
	t.Parallel()

	inBubble(t, privacy.Config{KeyTTL: 10 * time.Second}, func(n node) {
		envelope := n.seal()

		for range 9 {
			n.pass(time.Second)
			n.seal()

			if err := n.openError(envelope); err != nil {
				n.t.Fatal(err)
			}
		}

		if got := n.store.gets.Load(); got != 1 {
			n.t.Errorf("asked %d times within the TTL, want once", got)
		}

		n.pass(time.Second)
		n.seal()

		if got := n.store.gets.Load(); got != 2 {
			n.t.Errorf("asked %d times, want once more after the TTL", got)
		}

		n.eraseElsewhere()
		n.pass(10 * time.Second)

		before := n.store.gets.Load()
		for range 5 {
			if err := n.openError(envelope); !errors.Is(err, privacy.ErrErased) {
				n.t.Errorf("got %v", err)
			}
		}

		if got := n.store.gets.Load() - before; got != 1 {
			n.t.Errorf("asked %d times for a key that is gone, want once", got)
		}
	})
}

func TestSealGoesOnWithoutTheStoreAndOpenDoesNot(t *testing.T) {
	t.Parallel()

	inBubble(t, privacy.Config{}, func(n node) {
		envelope := n.seal()
		n.store.fail(secrets.ErrUnavailable)
		n.pass(2 * time.Minute)

		if sealed := n.seal(); sealed.Commitment != envelope.Commitment {
			n.t.Error("sealed with another key")
		}

		if err := n.openError(envelope); !errors.Is(err, secrets.ErrUnavailable) {
			n.t.Errorf("opened past the TTL: %v", err)
		}

		before := n.store.gets.Load()
		for range 5 {
			n.seal()
		}

		if got := n.store.gets.Load() - before; got != 0 {
			n.t.Errorf("asked a store that is away %d times in a row", got)
		}

		n.pass(time.Hour)

		_, err := n.keeper.Seal(n.t.Context(), tenant, subject, nil)
		if !errors.Is(err, secrets.ErrUnavailable) {
			n.t.Errorf("got %v, want no seal with a key older than the stale TTL", err)
		}

		n.store.fail(nil)
		n.seal()
	})
}

func TestSealDoesNotWaitLongForASlowStore(t *testing.T) {
	t.Parallel()

	inBubble(t, privacy.Config{}, func(n node) {
		n.seal()
		n.store.set(func(f *faultyStore) { f.hang = 5 * time.Second })
		n.pass(2 * time.Minute)

		begin := time.Now()
		n.seal()

		if took := time.Since(begin); took > time.Second {
			n.t.Errorf("a write waited %s for a key that it had", took)
		}

		n.pass(10 * time.Second) // the load that was left behind ends, and is remembered

		before := n.store.gets.Load()
		n.seal()

		if got := n.store.gets.Load() - before; got != 0 {
			n.t.Errorf("asked %d times, want the key that came late", got)
		}
	})
}

func TestSealNeverUsesAStaleKeyWhereThatIsOff(t *testing.T) {
	t.Parallel()

	inBubble(t, privacy.Config{StaleTTL: -1}, func(n node) {
		n.seal()
		n.store.fail(secrets.ErrUnavailable)
		n.pass(2 * time.Minute)

		_, err := n.keeper.Seal(n.t.Context(), tenant, subject, nil)
		if !errors.Is(err, secrets.ErrUnavailable) {
			n.t.Errorf("got %v", err)
		}
	})
}
