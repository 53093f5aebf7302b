package eventstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// maxLostRaces is how often a lane tries optimistically before it locks the head row first. Two busy nodes take turns
// that way, in the order in which PostgreSQL queues them, instead of one of them starving.
const maxLostRaces = 2

// contendedBatches is how many batches lock the head first once a lane has lost a race that way: a node that shares the
// tenant with another would pay the lost races again with each batch.
const contendedBatches = 64

// rollbackTimeout bounds giving up a transaction; past it the connection is closed.
const rollbackTimeout = 5 * time.Second

// statementTimeout bounds one round trip to the database; past it the connection is cut and the outcome looked up.
const statementTimeout = 20 * time.Second

// SQLSTATEs that say something of the log itself.
const (
	sqlNotNullViolation = "23502"
	sqlUniqueViolation  = "23505"
)

var (
	errLostRace = errors.New("another node moved the head")
	errUnknown  = errors.New("connection lost during the commit")
)

// commit answers every member, by landing it, refusing it or giving it up.
func (l *lane) commit(ctx context.Context, members []*member) {
	lost, failures := 0, 0
	for len(members) > 0 {
		rest, err := l.attempt(ctx, members, lost >= maxLostRaces || l.contended > 0)
		members = rest
		if err != nil {
			l.forget()
			l.answerLanded()
		}
		if !errors.Is(err, ErrUnavailable) {
			l.down = time.Time{}
		}
		switch {
		case err == nil:
			l.contended = max(l.contended-1, 0)
		case errors.Is(err, errLostRace):
			lost++
			if lost >= maxLostRaces {
				l.contended = contendedBatches
			}
		case errors.Is(err, ErrUnavailable):
			if l.hopeless() {
				failAll(members, err)
				failAll(l.drain(), err) // they have been waiting for the same database
				return
			}
			pause(ctx, failures)
			failures++
		case len(members) > 1 && isStatementError(err):
			for _, m := range members { // find the one that PostgreSQL refuses; the others must not suffer for it
				l.commit(ctx, []*member{m})
			}
			return
		default:
			failAll(members, err)
			return
		}
	}
}

// hopeless notes a failure to reach the database and tells whether it has been away for too long. It then stays so for
// the batches that follow, which get one try each, until one succeeds or nobody has tried for as long.
func (l *lane) hopeless() bool {
	now, patience := time.Now(), l.store.config.UnavailableAfter
	if l.down.IsZero() || now.Sub(l.lastFailure) > patience {
		l.down = now
	}
	l.lastFailure = now
	return now.Sub(l.down) > patience
}

func failAll(members []*member, err error) {
	for _, m := range members {
		m.fail(err)
	}
}

// attempt sends members once. It returns those that have not been answered and still have to be sent, with the reason
// where it concerns all of them.
func (l *lane) attempt(ctx context.Context, members []*member, locked bool) ([]*member, error) {
	b, found, err := l.exchange(ctx, members, locked)
	if b == nil {
		return members, err
	}
	if errors.Is(err, errUnknown) {
		found, err = l.resolve(ctx, b, err)
	}
	if err == nil && found.moved {
		l.landed(b)
		return nil, nil
	}
	l.dropReady()
	switch {
	case err != nil:
		return b.pending(nil), err
	case len(b.members) == 0:
		return nil, nil
	case len(found.stale) == 0 && len(found.known) == 0:
		return b.pending(nil), errLostRace
	}
	return l.refuse(b, found), nil
}

// exchange settles members, unless that has been done, and has the database judge them; it holds a connection, and with
// locked also the head row, no longer than that. A nil batch means that nobody has been answered yet.
func (l *lane) exchange(ctx context.Context, members []*member, locked bool) (*batch, reply, error) {
	ready := l.takeReady(members, locked)
	if l.store.pool.Stat().IdleConns() == 0 {
		l.answerLanded() // who is owed an answer does not wait for a connection
	}
	conn, err := l.acquire(ctx)
	if err != nil {
		return nil, reply{}, err
	}
	defer conn.Release() // the pool closes one that is still in a transaction
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	if ready != nil {
		found, err := l.send(ctx, conn.Conn(), ready, false)
		return ready, found, err
	}
	b, found, err := l.settleAndSend(ctx, conn.Conn(), members, locked)
	if locked && err == nil && len(b.members) == 0 {
		_, _ = conn.Exec(ctx, "rollback") // nothing was sent, so nothing has committed
	}
	return b, found, err
}

// acquire takes a connection, within the time after which the database counts as away.
func (l *lane) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, l.store.config.UnavailableAfter)
	defer cancel()
	conn, err := l.store.pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return conn, nil
}

// settleAndSend takes one round trip where everything is known. With lock it takes two, in one transaction: the first takes
// the head row, so that the compare-and-set in the second can't be lost.
func (l *lane) settleAndSend(ctx context.Context, conn *pgx.Conn, members []*member, lock bool) (*batch, reply, error) {
	l.answerLanded()
	if err := l.learn(ctx, conn, members, lock); err != nil {
		return nil, reply{}, err
	}
	if lag := l.clockLag(l.head); lag > MaxClockLag {
		return nil, reply{}, fmt.Errorf("%w (by %d ms)", ErrClockBehind, lag.Milliseconds())
	}
	b, deferred := l.settle(members)
	l.putBack(deferred)
	if len(b.members) == 0 {
		return b, reply{}, nil
	}
	found, err := l.send(ctx, conn, b, lock)
	return b, found, err
}

// landed remembers the new head. Everybody in the batch is answered by answerLanded.
func (l *lane) landed(b *batch) {
	l.answerLanded()
	l.head = b.next
	if len(l.versions)+len(b.versions) > maxKnownVersions {
		clear(l.versions)
	}
	maps.Copy(l.versions, b.versions)
	l.unanswered = b
}

// answerLanded answers everybody in the batch that has landed last.
func (l *lane) answerLanded() {
	b := l.unanswered
	if b == nil {
		return
	}
	l.unanswered = nil
	for i := range b.members {
		m := &b.members[i]
		events := b.events[m.from:m.to]
		versions := make(map[string]int64, 1)
		for j := range events {
			versions[events[j].Stream] = events[j].Version
		}
		m.succeed(Result{
			First: events[0].Position, Last: events[len(events)-1].Position, OccurredAt: events[0].OccurredAt,
			Versions: versions, Fingerprint: m.Remember.Fingerprint, Answer: m.answer,
		})
	}
	if l.store.config.Appended != nil {
		l.store.config.Appended(l.tenant, b.next.Position)
	}
}

// refuse answers the members that the statement found stale or known and returns the others. A repetition is stale as a
// rule, because its first try has written: it gets the first answer.
func (l *lane) refuse(b *batch, reply reply) []*member {
	answered := map[*member]bool{}
	for _, k := range reply.known {
		m := b.known[k.index]
		answered[m] = true
		m.succeed(k.result())
	}
	for _, s := range reply.stale {
		c := b.checks[s.index]
		l.versions[c.stream] = s.actual
		if answered[c.owner] {
			continue
		}
		answered[c.owner] = true
		c.owner.fail(&ConflictError{Stream: c.stream, Expected: c.expected, Actual: s.actual})
	}
	return b.pending(answered)
}

func (b *batch) pending(answered map[*member]bool) []*member {
	var rest []*member
	for i := range b.members {
		if m := b.members[i].member; !answered[m] {
			rest = append(rest, m)
		}
	}
	return rest
}

// resolve finds out what became of a batch whose connection was lost during the commit: the hash at its first position
// tells. Where the row is absent the identical batch is sent again, and the compare-and-set decides between it and a
// backend that may still be working on the first try.
func (l *lane) resolve(ctx context.Context, b *batch, cause error) (reply, error) {
	log := l.store.config.Log
	log.WarnContext(ctx, "connection lost during a commit, looking up the outcome",
		slog.String("tenant", l.tenant), slog.Int64("position", b.events[0].Position), slog.Any("cause", cause))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.store.config.ResolveWithin)
	defer cancel()
	for attempt := 0; ctx.Err() == nil; attempt++ {
		result, err := l.resend(ctx, b)
		if err == nil {
			log.InfoContext(ctx, "the outcome of the commit is known", slog.String("tenant", l.tenant), slog.Bool("written", result.moved))
			return result, nil
		}
		if !errors.Is(err, errUnknown) && !errors.Is(err, ErrUnavailable) {
			return reply{}, err
		}
		pause(ctx, attempt)
	}
	return reply{}, fmt.Errorf("%w: %w", ErrOutcomeUnknown, cause)
}

func (l *lane) resend(ctx context.Context, b *batch) (reply, error) {
	conn, err := l.acquire(ctx)
	if err != nil {
		return reply{}, err
	}
	defer conn.Release()
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	written, taken, err := l.find(ctx, conn.Conn(), b)
	if err != nil || written {
		return reply{moved: written}, err
	}
	if taken {
		return reply{}, nil // somebody else's event: a lost race
	}
	result, err := l.send(ctx, conn.Conn(), b, false)
	if err != nil || result.moved {
		return result, err
	}
	// Stale or known may be our own first try, which committed after the look above.
	written, _, err = l.find(ctx, conn.Conn(), b)
	if err != nil || written {
		return reply{moved: written}, err
	}
	return result, nil
}

// classify tells what a failed round trip leaves known: an error that PostgreSQL reported and survived means that the
// statement was rolled back; anything else leaves the outcome open. (pgconn.SafeToRetry is no help: v5.12 claims it of a
// commit whose answer was cut off, because the reader peeks first and then finds the connection closed.)
func classify(err error) error {
	var refused *pgconn.PgError
	switch {
	case raced(err):
		return fmt.Errorf("%w: %w", errLostRace, err)
	case errors.As(err, &refused) && refused.SeverityUnlocalized == "ERROR":
		return asUnavailable(err)
	}
	return fmt.Errorf("%w: %w", errUnknown, err)
}

// raced tells whether the append statement failed because Memorize made one of its commands known; see appendStatement.
func raced(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.Code == sqlNotNullViolation && refused.TableName == "commands"
}

// passes tells whether an SQLSTATE is of what goes away by itself or by an operator's hand.
func passes(code string) bool {
	const classLength = 2
	switch code[:min(classLength, len(code))] {
	case "08", "53", "57", "58": // connection lost, out of resources, cancelled or shut down, input/output error
		return true
	}
	switch code {
	case "25006", "55P03", "40001", "40P01": // read-only standby, lock not available, serialisation failure, deadlock
		return true
	}
	return false
}

// asUnavailable wraps errors that will pass when the database is back.
func asUnavailable(err error) error {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	switch {
	case passes(refused.Code):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case refused.Code == sqlUniqueViolation && (refused.ConstraintName == "events_position_key" || refused.ConstraintName == "events_version_key"):
		return fmt.Errorf("%w: %w", ErrChainBroken, err)
	}
	return fmt.Errorf("the database refused the statement: %w", err)
}

// isStatementError tells whether PostgreSQL refused the statement for what is in it, so that nothing was written.
func isStatementError(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrChainBroken) && !errors.Is(err, ErrOutcomeUnknown)
}
