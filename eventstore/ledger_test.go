package eventstore_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/eventstore"
)

// ledger holds what callers were told, to compare it with what is in the log.
type ledger struct {
	tenant string

	lock    sync.Mutex
	entries map[string]entry
	faults  []error

	acknowledged, unavailable, unknown atomic.Int64
}

type entry struct {
	result eventstore.Result
	err    error
}

func newLedger() *ledger {
	return &ledger{tenant: newTenant(), entries: map[string]entry{}}
}

// marked is the data of events whose appends are in the ledger.
type marked struct {
	Mark string `json:"mark"`
}

// write appends two events to a stream of its own, until stop, and notes each outcome. Half of the writers use command ids.
func (l *ledger) write(ctx context.Context, store *eventstore.Store, writer int, stop <-chan struct{}) {
	stream, version := fmt.Sprintf("ledger-%d-%s", writer, uuid.NewString()), int64(0)
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		mark := fmt.Sprintf("%s/%d", stream, n)
		data, _ := json.Marshal(marked{Mark: mark})
		request := eventstore.Append{
			Tenant: l.tenant, Expect: map[string]int64{stream: version}, Meta: []byte("{}"),
			Events: []eventstore.NewEvent{
				{Stream: stream, Type: "test.marked.v1", Data: data}, {Stream: "ledger-shared", Type: "test.marked.v1", Data: data},
			},
		}
		if writer%2 == 0 {
			request.CommandID = uuid.New()
		}
		result, err := store.Append(ctx, request)
		l.note(mark, entry{result: result, err: err})
		switch {
		case err == nil:
			version++
		case errors.Is(err, eventstore.ErrOutcomeUnknown): // a new stream, since the version of this one is not known
			stream, version = fmt.Sprintf("ledger-%d-%s", writer, uuid.NewString()), 0
		case !errors.Is(err, eventstore.ErrUnavailable):
			return
		}
	}
}

func (l *ledger) note(mark string, e entry) {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.entries[mark] = e
	switch {
	case e.err == nil:
		l.acknowledged.Add(1)
	case errors.Is(e.err, eventstore.ErrOutcomeUnknown):
		l.unknown.Add(1)
	case errors.Is(e.err, eventstore.ErrUnavailable):
		l.unavailable.Add(1)
	default:
		l.faults = append(l.faults, e.err)
	}
}

// run has writers write while disturb runs.
func (l *ledger) run(ctx context.Context, store *eventstore.Store, writers int, disturb func()) {
	GinkgoHelper()
	stop := make(chan struct{})
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() { l.write(ctx, store, i, stop) })
	}
	disturb()
	close(stop)
	done := make(chan struct{})
	go func() {
		all.Wait()
		close(done)
	}()
	Eventually(done, 2*bound).Should(BeClosed(), "every caller is answered")
}

// audit compares what callers were told with the log, which it reads through store.
func (l *ledger) audit(ctx context.Context, store *eventstore.Store) {
	GinkgoHelper()
	report := expectIntact(ctx, store, l.tenant)
	Expect(l.faults).To(BeEmpty(), "callers get answers or are told that the database is away")
	positions := map[string][]int64{}
	const page = 10_000
	for after := int64(0); after < report.Head.Position; {
		chain, err := store.Read(ctx, l.tenant, after, page)
		Expect(err).NotTo(HaveOccurred())
		for i := range chain {
			var data marked
			Expect(json.Unmarshal(chain[i].Data, &data)).To(Succeed())
			positions[data.Mark] = append(positions[data.Mark], chain[i].Position)
		}
		after = chain[len(chain)-1].Position
	}
	for mark, e := range l.entries {
		at := positions[mark]
		switch {
		case e.err == nil && e.result.Duplicate:
			Fail("nothing was sent twice, yet " + mark + " is a duplicate")
		case e.err == nil:
			if len(at) != 2 || at[0] != e.result.First || at[1] != e.result.Last {
				Fail(fmt.Sprintf("%s was acknowledged at %d, it stands at %v", mark, e.result.First, at))
			}
		case errors.Is(e.err, eventstore.ErrOutcomeUnknown):
			if len(at) != 0 && len(at) != 2 {
				Fail(fmt.Sprintf("%s has an unknown outcome, it stands at %v", mark, at))
			}
		default:
			if len(at) != 0 {
				Fail(fmt.Sprintf("%s was not written, its caller was told; it stands at %v", mark, at))
			}
		}
	}
	AddReportEntry("appends", fmt.Sprintf("%d acknowledged, %d unavailable, %d unknown", l.acknowledged.Load(), l.unavailable.Load(), l.unknown.Load()))
}
