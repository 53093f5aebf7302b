// Package operations is the context of what operators do to Archon itself: they try a stalled projection again,
// hold one up, have one rebuilt, try a failed job again, or give one up. None of it has a state of its own to decide about; the events are the record of who did it.
package operations

import (
	"github.com/google/uuid"

	"github.com/archonhq/archon/domain"
)

// ProjectionRetried says that an operator let a stalled projection go on.
type ProjectionRetried struct {
	Name string `json:"name"`
}

// ProjectionRebuildRequested says that an operator asked for a projection to be built anew from the log.
type ProjectionRebuildRequested struct {
	Name string `json:"name"`
}

// ProjectionPaused says that an operator stopped a projection.
type ProjectionPaused struct {
	Name string `json:"name"`
}

// ProjectionResumed says that an operator let a paused projection go on.
type ProjectionResumed struct {
	Name string `json:"name"`
}

// JobRetried says that an operator queued a failed job again.
type JobRetried struct {
	JobID string `json:"job_id"`
}

// JobDiscarded says that an operator gave a failed job up.
type JobDiscarded struct {
	JobID string `json:"job_id"`
}

// EventType implements domain.Event.
func (ProjectionRetried) EventType() string { return "projection.retried.v1" }

// EventType implements domain.Event.
func (ProjectionRebuildRequested) EventType() string { return "projection.rebuild_requested.v1" }

// EventType implements domain.Event.
func (ProjectionPaused) EventType() string { return "projection.paused.v1" }

// EventType implements domain.Event.
func (ProjectionResumed) EventType() string { return "projection.resumed.v1" }

// EventType implements domain.Event.
func (JobRetried) EventType() string { return "job.retried.v1" }

// EventType implements domain.Event.
func (JobDiscarded) EventType() string { return "job.discarded.v1" }

// Events lists every event of this context by its zero value.
func Events() []domain.Event {
	return []domain.Event{
		ProjectionRetried{}, ProjectionRebuildRequested{}, ProjectionPaused{}, ProjectionResumed{}, JobRetried{}, JobDiscarded{},
	}
}

// nameSpace is the UUID namespace of projection streams; it must never change.
var nameSpace = uuid.MustParse("b7a4c0d2-1d7e-5b44-9a35-7a0f4b6d9e55")

// ProjectionStream is the stream of what operators did to a projection.
func ProjectionStream(name string) string {
	return "projection-" + uuid.NewSHA1(nameSpace, []byte(name)).String()
}

// JobStream is the stream of what operators did to a job.
func JobStream(id string) string { return "job-" + id }
