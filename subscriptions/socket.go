package subscriptions

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/archonhq/archon/eventstore"
)

const (
	// queueFrames and queueBytes bound what waits for one socket. Past either the socket reads for itself.
	queueFrames = 64
	queueBytes  = 256 << 10
	// behindLimit and behindBytes bound what a socket that is behind reads at once.
	behindLimit = 128
	behindBytes = 64 << 10
	// behindPause is how long a socket that is behind waits for a database that is away.
	behindPause = 250 * time.Millisecond
)

// Close codes that are not the protocol's own. Their reason is the position to go on after, as is that of 1001.
const (
	// CodeUnauthorised is for a token that has expired.
	CodeUnauthorised websocket.StatusCode = 4401
	// CodeTooSlow is for a client that takes nothing.
	CodeTooSlow websocket.StatusCode = 4008
)

// ending is why a socket ends: a close code. The reason that goes with it is the position to go on after.
type ending websocket.StatusCode

const (
	errGoingAway    = ending(websocket.StatusGoingAway)
	errFailed       = ending(websocket.StatusInternalError)
	errMisused      = ending(websocket.StatusPolicyViolation)
	errUnauthorised = ending(CodeUnauthorised)
	errTooSlow      = ending(CodeTooSlow)
	// errGone is a client that has closed, or whose connection has broken; nothing is sent.
	errGone = ending(websocket.StatusAbnormalClosure)
)

// Error implements error.
func (e ending) Error() string { return "socket ends with " + strconv.Itoa(int(e)) }

// socket is one subscriber. Its run goroutine is the only one that sends events, its listen goroutine the only one that
// receives.
type socket struct {
	node           *Sockets
	conn           *websocket.Conn
	wire           *patientConn
	tenant         string
	streams, types eventstore.Names
	// full is whether the subscriber may see meta and data.
	full bool
	// isGreeted is whether the subscriber is told at once where it begins: one that named no position does not know.
	isGreeted bool
	// expiresAt is when the token does.
	expiresAt time.Time

	// at is how far the subscriber has been served; run's alone.
	at int64
	// mark is how long the client had let us wait when the socket fell behind, if it did; run's alone.
	mark     time.Duration
	isBehind bool

	// wake holds a token where there is something to do.
	wake  chan struct{}
	pongs atomic.Int32
	// ended is an ending that somebody else has asked for, 0 for none.
	ended atomic.Int32

	mu sync.Mutex
	// queue is what the tailer has handed over, and handed how far it has.
	queue  []queued
	bytes  int
	handed int64
	isLive bool
}

type queued struct {
	position int64
	text     []byte
}

// finish asks for the socket to end; the first that asks decides how.
func (s *socket) finish(how ending) {
	if s.ended.CompareAndSwap(0, int32(how)) { //nolint:gosec // a close code
		s.signal()
	}
}

// abort ends the connection at once.
func (s *socket) abort() {
	s.finish(errGone)
	_ = s.wire.Close()
}

func (s *socket) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// wants tells whether the filters let an event through.
func (s *socket) wants(event *eventstore.Recorded) bool {
	return s.streams.Match(event.Stream) && s.types.Match(event.Type)
}

// begin makes the socket live: offers come from after a position on.
func (s *socket) begin(after int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue, s.bytes, s.handed, s.isLive = s.queue[:0], 0, after, true
}

// offer takes a stretch of the log, up to upTo. It tells whether the socket is still live: one whose queue is full is not,
// and goes on by itself from where it stopped taking.
func (s *socket) offer(frames []frame, upTo int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.signal()
	for i := range frames {
		event := frames[i].event
		if !s.wants(event) {
			continue
		}
		text := frames[i].text(s.full)
		if len(s.queue) >= queueFrames || (s.bytes > 0 && s.bytes+len(text) > queueBytes) {
			s.handed, s.isLive = event.Position-1, false
			return false
		}
		s.queue = append(s.queue, queued{event.Position, text})
		s.bytes += len(text)
	}
	s.handed = upTo
	return true
}

// take empties the queue into spare, and tells how far it goes and whether more will come.
func (s *socket) take(spare []queued) (taken []queued, handed int64, isLive bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken, s.queue, s.bytes = s.queue, spare[:0], 0
	return taken, s.handed, s.isLive
}

// run serves the socket until it ends.
func (s *socket) run() {
	alarm := newAlarm(s.node.config.Positions, s.node.config.Heartbeat, s.expiresAt)
	defer alarm.stop()
	var err error
	if s.isGreeted {
		err = s.write(positionFrame(s.at))
	}
	for err == nil {
		var boundary int64
		if boundary, err = s.catchUp(alarm); err == nil {
			err = s.follow(alarm, boundary)
		}
	}
	s.close(err)
}

// close says goodbye, where there is somebody to say it to.
func (s *socket) close(err error) {
	how := errFailed
	if !errors.As(err, &how) {
		how = errGone // writing failed
	}
	if s.wire.slow.Load() && how != errGone {
		how = errTooSlow
	}
	s.node.metrics.ended.WithLabelValues(strconv.Itoa(int(how))).Inc()
	if how == errGone {
		_ = s.conn.CloseNow()
		return
	}
	reason := strconv.FormatInt(s.at, 10)
	if how == errMisused {
		reason = onlyPings
	}
	_ = s.conn.Close(websocket.StatusCode(how), reason) // or the client has gone, which is as well
	_ = s.wire.Close()
}

// catchUp reads the log until its end, joins the tailer, and returns the position after which the tailer hands over.
func (s *socket) catchUp(alarm *alarm) (boundary int64, err error) {
	for {
		isEnd, err := s.readOn(alarm, 0)
		if err != nil {
			return 0, err
		}
		if isEnd {
			return s.node.join(s), nil
		}
	}
}

// readOn sends the next stretch of the log, of no more than upTo where that is not 0, and tells whether it has reached the
// end.
func (s *socket) readOn(alarm *alarm, upTo int64) (isEnd bool, err error) {
	found, err := s.read(upTo)
	if err != nil {
		if s.node.life.Err() != nil {
			return false, errGoingAway
		}
		pause(s.node.life, behindPause) // the database is away; the tailer's log line says so, or the store's own
		return false, s.attend(alarm)
	}
	for i := range found.Events {
		one := frame{event: &found.Events[i]}
		if err := s.send(one.event.Position, one.text(s.full)); err != nil {
			return false, err
		}
		if err := s.attend(alarm); err != nil {
			return false, err
		}
	}
	s.at = max(s.at, found.UpTo)
	if s.isBehind && s.wire.waited()-s.mark > s.node.config.SlowAfter {
		return false, errTooSlow // it has been waited for again and again, and gets no nearer
	}
	return found.UpTo >= found.Head, s.attend(alarm)
}

func (s *socket) read(upTo int64) (eventstore.Selected, error) {
	s.node.reads <- struct{}{}
	defer func() { <-s.node.reads }()
	return s.node.config.Log.Select(s.node.life, s.tenant, eventstore.Selection{ //nolint:wrapcheck // for the caller alone
		After: s.at, UpTo: upTo, Streams: s.streams, Types: s.types, Limit: behindLimit, MaxBytes: behindBytes,
	})
}

// follow closes the gap up to the boundary, and then passes on what the tailer hands over, until it does not any more.
func (s *socket) follow(alarm *alarm, boundary int64) error {
	for s.at < boundary {
		if _, err := s.readOn(alarm, boundary); err != nil {
			return err
		}
	}
	s.isBehind = false
	var spare []queued
	for {
		taken, handed, isLive := s.take(spare)
		for i, next := range taken {
			if next.position > s.at {
				if err := s.send(next.position, next.text); err != nil {
					return err
				}
			}
			taken[i].text = nil // or it would be kept until the next time around
		}
		spare = taken
		s.at = max(s.at, handed)
		if err := s.attend(alarm); err != nil {
			return err
		}
		if !isLive {
			s.isBehind, s.mark = true, s.wire.waited()
			return nil
		}
		select {
		case <-s.wake:
		case <-alarm.rings():
			alarm.rang()
		}
	}
}

// send sends an event, with which the socket is served up to its position.
func (s *socket) send(position int64, text []byte) error {
	err := s.write(text)
	if errors.Is(err, errGone) {
		return err
	}
	s.at = position // also where the client was too slow: the message is out, and would else come twice
	s.node.metrics.sent.Inc()
	return err
}

func (s *socket) write(text []byte) error {
	if err := s.conn.Write(context.Background(), websocket.MessageText, text); err != nil {
		return errGone
	}
	if s.wire.slow.Load() {
		return errTooSlow
	}
	return nil
}

// pong is the answer to a ping.
const pong = `{"type":"pong"}`

// attend does what is due besides events.
func (s *socket) attend(alarm *alarm) error {
	if how := s.ended.Load(); how != 0 {
		return ending(how)
	}
	for ; s.pongs.Load() > 0; s.pongs.Add(-1) {
		if err := s.write([]byte(pong)); err != nil {
			return err
		}
	}
	if s.wire.slow.Load() {
		return errTooSlow
	}
	due := alarm.due(time.Now())
	if due.expiry {
		return errUnauthorised
	}
	if due.position {
		if err := s.write(positionFrame(s.at)); err != nil {
			return err
		}
	}
	if due.heartbeat {
		go s.beat()
	}
	return nil
}

func positionFrame(at int64) []byte {
	text, _ := json.Marshal(struct { //nolint:errchkjson // a text and a number
		Type     string `json:"type"`
		Position int64  `json:"position"`
	}{"position", at})
	return text
}

// beat finds out whether the client is still there: a connection that is cut somewhere in between breaks by itself only
// after many minutes.
func (s *socket) beat() {
	ctx, cancel := context.WithTimeout(s.node.life, s.node.config.Heartbeat)
	defer cancel()
	err := s.conn.Ping(ctx)
	switch {
	case s.wire.slow.Load():
		s.signal()
	case err != nil && s.node.life.Err() == nil:
		s.abort()
	}
}
