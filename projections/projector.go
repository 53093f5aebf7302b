package projections

import (
	"iter"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/archonhq/archon/eventstore"
)

// Event is a recorded event with its decoded payload.
type Event struct {
	eventstore.Recorded
	// Payload is nil where the projector takes every type undecoded.
	Payload eventstore.Typed
}

// Projector turns events into the rows of one projection. Implementations must be safe for concurrent use.
type Projector interface {
	// Name is the projection's stable name, which is part of its checkpoint's key.
	Name() string
	// Version counts from 1 and is raised when the meaning of the projector or its tables change.
	Version() int
	// Handles lists the event types that Project is given, decoded; events of other types that the codec knows are passed
	// over, and their data is not even read. Nil stands for every type, undecoded.
	Handles() []string
	// Project adds what a batch of events does to the tables to out. The events are of one tenant, in order, and
	// consecutive but for those that are not handled; where a batch ends must not matter. Project is pure: it may be
	// called again with the same events, or a part of them, and its errors are taken to be the events' fault.
	Project(events []Event, out *Statements) error
}

// Rebuildable is a Projector whose rows follow from the log alone, so that they can be made again from position 1. Reactions
// are none: what they ask for has been done in the world.
type Rebuildable interface {
	Projector
	// Tables lists the read tables that the projector writes, by their bare names. Its statements name no other table, and
	// none with a schema: a rebuild sends them to tables of the same names in the schema rebuild, which migrations make.
	Tables() []string
}

// Folder is a Projector that sums events up as they come, so that a catch-up can take many more of them into one
// transaction than it could keep in memory.
type Folder interface {
	Projector
	// Fold begins a batch. The runner then calls Fold.Add for its events in place of Project.
	Fold() Fold
}

// Fold sums up a batch of events. It is used by one goroutine.
type Fold interface {
	// Add takes the next event. It has no Stream, CommandID, Meta and PrevHash, and its payload is a pointer; event, payload
	// and data are only there until Add returns. What is said of Project holds.
	Add(event *Event) error
	// Bytes is about how much memory the sum takes, and what Part has taken out of it, which may still wait for PostgreSQL;
	// past a bound the runner ends the batch.
	Bytes() int
	// Part adds statements that need not wait for the rest of the batch to out, so that PostgreSQL has something to do
	// while events are read. It is called now and then between two events.
	Part(out *Statements)
	// Write adds everything else that the events do to the tables to out. It is the last call.
	Write(out *Statements)
}

// Statements collects SQL that is to run in the transaction that moves the checkpoint, in the order in which it was added.
// Row-level security is set to the events' tenant.
type Statements struct {
	list []statement
}

type statement struct {
	sql  string
	args []any
}

// Exec adds a statement; its rows, where it returns any, are ignored. Keep the text constant (arrays with unnest instead
// of lists of values): every distinct text is prepared once a connection.
func (s *Statements) Exec(sql string, args ...any) {
	s.list = append(s.list, statement{sql: sql, args: args})
}

// encodable gives an argument the form that pgx encodes without reflection and without going through text, where that
// matters: arrays with an element a row.
func encodable(arg any) any {
	ids, is := arg.([]uuid.UUID)
	if !is {
		return arg
	}
	array := make(pgtype.FlatArray[pgtype.UUID], len(ids))
	for i, id := range ids {
		array[i] = pgtype.UUID{Bytes: id, Valid: true}
	}
	return array
}

// queue adds the statements to a pipeline.
func (s *Statements) queue(pipeline *pgx.Batch) {
	for _, one := range s.list {
		args := slices.Clone(one.args)
		for i := range args {
			args[i] = encodable(args[i])
		}
		pipeline.Queue(one.sql, args...)
	}
}

// All lists the statements with their arguments.
func (s *Statements) All() iter.Seq2[string, []any] {
	return func(yield func(string, []any) bool) {
		for _, one := range s.list {
			if !yield(one.sql, one.args) {
				return
			}
		}
	}
}
