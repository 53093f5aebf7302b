package eventstore

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
)

// testLane is a lane whose memory is versions, at a head of position 100.
func testLane(versions map[string]int64) *lane {
	now := func() time.Time { return time.UnixMicro(1_000_000) }
	return &lane{
		store: &Store{config: Config{Now: now}}, tenant: "t", versions: versions, repeated: map[uuid.UUID]knownCommand{},
		head: Head{Position: 100, Hash: Genesis("t"), OccurredAt: 5}, headKnown: true,
	}
}

func testMember(expect map[string]int64, streams ...string) *member {
	request := &Append{Tenant: "t", Expect: expect}
	for _, stream := range streams {
		request.Events = append(request.Events, NewEvent{Stream: stream, Type: "t.v1"})
	}
	return newMember(request)
}

// outcomeOf is what a member was told, nil where nothing.
func outcomeOf(m *member) *outcome {
	select {
	case o := <-m.done:
		return &o
	default:
		return nil
	}
}

func TestSettlePlacesInOrder(t *testing.T) {
	t.Parallel()
	l := testLane(map[string]int64{"a": 7, "b": 3})
	b, deferred := l.settle([]*member{
		testMember(map[string]int64{"a": 7}, "a", "a"), testMember(nil, "b", "a"), testMember(map[string]int64{"a": 10, "new": 0}, "new", "a"),
	})
	if len(deferred) != 0 || len(b.members) != 3 {
		t.Fatalf("%d members, %d deferred", len(b.members), len(deferred))
	}
	got := ""
	for i := range b.events {
		e := &b.events[i]
		got += fmt.Sprintf("%d:%s@%d ", e.Position, e.Stream, e.Version)
		if e.OccurredAt != 1_000_000 || (i > 0 && string(e.PrevHash) != string(b.events[i-1].Hash)) {
			t.Errorf("event %d does not continue the chain", i)
		}
	}
	if want := "101:a@8 102:a@9 103:b@4 104:a@10 105:new@1 106:a@11 "; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if len(b.checks) != 1 || b.checks[0].stream != "new" || b.checks[0].expected != 0 {
		t.Errorf("the statement is to check %+v", b.checks)
	}
	if b.next.Position != 106 || string(b.next.Hash) != string(b.events[5].Hash) {
		t.Errorf("the next head is %+v", b.next)
	}
}

func TestSettleDefersWhatDependsOnOthers(t *testing.T) {
	t.Parallel()
	l := testLane(map[string]int64{"a": 7})
	first, second, third := testMember(map[string]int64{"a": 7}, "a"), testMember(map[string]int64{"a": 7}, "a"), testMember(map[string]int64{"a": 6}, "b")
	twin := testMember(nil, "c")
	twin.CommandID = uuid.New()
	other := testMember(nil, "d")
	other.CommandID = twin.CommandID
	b, deferred := l.settle([]*member{first, second, third, twin, other})
	if len(b.members) != 2 || len(deferred) != 3 || deferred[0] != second || deferred[1] != third || deferred[2] != other {
		t.Fatalf("%d members, %d deferred", len(b.members), len(deferred))
	}
	for _, m := range []*member{first, second, third, twin, other} {
		if o := outcomeOf(m); o != nil {
			t.Errorf("nobody is to be told anything yet, one was told %+v", o)
		}
	}
}

func TestSettleRefusesWhatTheLogContradicts(t *testing.T) {
	t.Parallel()
	l := testLane(map[string]int64{"a": 7})
	stale := testMember(map[string]int64{"a": 6}, "b")
	b, deferred := l.settle([]*member{stale})
	o := outcomeOf(stale)
	var conflict *ConflictError
	if len(b.members)+len(deferred) != 0 || o == nil || !errors.As(o.err, &conflict) || conflict.Actual != 7 || conflict.Error() != "stream a is at version 7, expected 6" {
		t.Errorf("it was told %+v", o)
	}
}

func TestSettleAnswersRepetitionsWithTheFirstAnswer(t *testing.T) {
	t.Parallel()
	l := testLane(map[string]int64{"a": 7})
	again := testMember(map[string]int64{"a": 6}, "a")
	again.CommandID = uuid.New()
	l.repeated[again.CommandID] = knownCommand{first: 50, last: 51, answer: []byte("first")}
	l.settle([]*member{again})
	if o := outcomeOf(again); o == nil || o.err != nil || !o.result.Duplicate || o.result.First != 50 || string(o.result.Answer) != "first" {
		t.Errorf("it was told %+v", o)
	}
}

// A member that expects more than the lane remembers sends the statement to look. That must not cost the lane its memory: a
// later member that takes the stream as it is would begin it anew, and its batch would look like a fork of the log.
func TestSettleKeepsItsMemoryOfDoubtedStreams(t *testing.T) {
	t.Parallel()
	for range 20 { // the order in which expectations are looked at is random
		l := testLane(map[string]int64{"a": 7, "b": 2})
		doubting := testMember(map[string]int64{"a": 5000, "b": 1}, "a")
		following := testMember(nil, "a")
		b, _ := l.settle([]*member{doubting, following})
		if len(b.events) != 1 || b.events[0].Version != 8 {
			t.Fatalf("stream a goes on with %+v", b.events)
		}
	}
	l := testLane(map[string]int64{"a": 7})
	b, _ := l.settle([]*member{testMember(map[string]int64{"a": 9}, "a")})
	if len(b.checks) != 1 || b.checks[0].expected != 9 || b.events[0].Version != 10 {
		t.Errorf("checks %+v, events %+v", b.checks, b.events)
	}
}

func TestUnplaceLeavesNoTrace(t *testing.T) {
	t.Parallel()
	l := testLane(map[string]int64{"a": 7})
	failing := testMember(map[string]int64{"new": 0, "a": 7}, "new", "a", "a")
	failing.CommandID = uuid.New()
	failing.Remember.Answer = func([]Recorded) ([]byte, error) { return nil, errors.New("no answer") }
	after := testMember(map[string]int64{"a": 7, "new": 0}, "a", "new")
	b, deferred := l.settle([]*member{testMember(nil, "other"), failing, after})
	if o := outcomeOf(failing); o == nil || o.err == nil {
		t.Errorf("it was told %+v", o)
	}
	got := ""
	for i := range b.events {
		got += fmt.Sprintf("%d:%s@%d ", b.events[i].Position, b.events[i].Stream, b.events[i].Version)
	}
	if want := "101:other@1 102:a@8 103:new@1 "; got != want || len(deferred) != 0 || len(b.checks) != 1 || b.checks[0].owner != after {
		t.Errorf("got %s, want %s; %d deferred, checks %+v", got, want, len(deferred), b.checks)
	}
}

func TestIdleLanesAreForgottenWhereThereAreTooMany(t *testing.T) {
	t.Parallel()
	s := &Store{lanes: map[string]*lane{}}
	for i := range maxIdleLanes - 1 {
		s.lanes[fmt.Sprint(i)] = &lane{running: i == 7}
	}
	s.forgetIdleLanes()
	if len(s.lanes) != maxIdleLanes-1 {
		t.Errorf("%d lanes are left, there was room for all", len(s.lanes))
	}
	s.lanes["one more"] = &lane{}
	s.forgetIdleLanes()
	if len(s.lanes) != 1 || s.lanes["7"] == nil {
		t.Errorf("%d lanes are left, not just the one at work", len(s.lanes))
	}
}

func TestALaneForgetsStreamsWhereItKnowsTooMany(t *testing.T) {
	t.Parallel()
	versions := map[string]int64{}
	for i := range maxKnownVersions {
		versions[fmt.Sprint(i)] = 1
	}
	l := testLane(versions)
	m := testMember(map[string]int64{"7": 1}, "7")
	b, _ := l.settle([]*member{m})
	l.landed(b)
	if outcomeOf(m) != nil {
		t.Error("it was told before the next batch could be on its way")
	}
	l.answerLanded()
	if len(l.versions) != 1 || l.versions["7"] != 2 {
		t.Errorf("it knows %d streams, and 7 at %d", len(l.versions), l.versions["7"])
	}
	if o := outcomeOf(m); o == nil || o.result.Versions["7"] != 2 || l.head.Position != 101 {
		t.Errorf("it was told %+v, the head is %+v", o, l.head)
	}
}

func TestABatchIsMadeBesideOneInFlight(t *testing.T) {
	t.Parallel()
	l := testLane(map[string]int64{"known": 4})
	l.store.config.MaxBatchEvents, l.store.config.MaxBatchBytes = defaultMaxBatchEvents, defaultMaxBatchBytes
	first := testMember(map[string]int64{"known": 4}, "known")
	inFlight, _ := l.settle([]*member{first})
	for i := range 3 * overlapFrom {
		stream := fmt.Sprint("new-", i)
		l.queue = append(l.queue, testMember(map[string]int64{stream: 0}, stream))
	}
	follower := testMember(map[string]int64{"known": 5}, "known") // right only if the one in flight lands
	refused := testMember(map[string]int64{"known": 4}, "known")  // wrong only if it lands
	l.queue = append([]*member{follower, refused}, l.queue...)
	waiting := len(l.queue)

	l.makeReady(inFlight)
	if l.ready == nil || len(l.ready.members) != 1 || l.ready.members[0].member != follower {
		t.Fatalf("made ready: %+v", l.ready)
	}
	if event := l.ready.events[0]; event.Version != 6 || event.Position != inFlight.next.Position+1 || string(event.PrevHash) != string(inFlight.next.Hash) {
		t.Errorf("it does not follow the one in flight: %+v", event)
	}
	if l.head.Position != inFlight.base.Position || l.landing != nil || outcomeOf(refused) != nil || len(l.queue) != waiting-1 || l.queue[0] != refused {
		t.Errorf("what has not happened was believed: head %d, %d waiting", l.head.Position, len(l.queue))
	}

	l.dropReady()
	if l.ready != nil || len(l.queue) != waiting || l.queue[0] != follower || l.queue[1] != refused {
		t.Error("members were lost, or overtaken")
	}
	l.dropReady()
	l.queue = l.queue[2:]
	l.makeReady(inFlight)
	if got, want := len(l.ready.members), (3*overlapFrom+2)/2; got != want {
		t.Errorf("%d of %d members beside one in flight, want half of all: %d", got, 3*overlapFrom, want)
	}
	if made := l.ready.pending(nil); l.takeReady(made, true) != nil || l.ready != nil {
		t.Error("a batch that rests on a head which is to be learned anew was kept")
	}
	l.makeReady(inFlight)
	others, waiting := l.ready.pending(nil), len(l.queue)
	if l.takeReady([]*member{refused}, false) != nil || l.ready != nil || len(l.queue) != waiting+len(others) || l.queue[0] != others[0] {
		t.Error("a batch was taken for one of others, or its members were lost")
	}
	l.store.config.Now = func() time.Time { return time.UnixMicro(inFlight.next.OccurredAt).Add(-2 * MaxClockLag) }
	if l.makeReady(inFlight); l.ready != nil {
		t.Error("a batch was made by a clock that is behind")
	}
}

// benchMembers are n callers of one event each, every one with its own stream.
func benchMembers(n int) ([]*member, map[string]int64) {
	versions := map[string]int64{}
	members := make([]*member, n)
	for i := range members {
		stream := fmt.Sprintf("bench-%036d", i)
		versions[stream] = 7
		members[i] = testMember(map[string]int64{stream: 7}, stream)
		members[i].Events[0].Data, members[i].Meta = make([]byte, 420), make([]byte, 110)
	}
	return members, versions
}

func BenchmarkSettle(b *testing.B) {
	const callers = 256
	members, versions := benchMembers(callers)
	l := testLane(versions)
	b.ReportAllocs()
	for b.Loop() {
		l.settle(members)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*callers), "ns/event")
}

func BenchmarkArguments(b *testing.B) {
	const callers = 256
	members, versions := benchMembers(callers)
	l := testLane(versions)
	batch, _ := l.settle(members)
	b.ReportAllocs()
	for b.Loop() {
		l.encoders[0].arguments("t", batch)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*callers), "ns/event")
}
