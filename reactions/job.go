package reactions

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/archonhq/archon/projections"
)

// Names of metadata that a job's message carries.
const (
	metadataTenant      = "tenant_id"
	metadataCorrelation = "correlation_id"
	metadataCausation   = "causation_id"
)

// jobSpace is the UUID namespace in which events become job ids, and jobs become command ids; it must never change.
var jobSpace = uuid.MustParse("9a4be0f6-40d5-5c51-8f0e-5f4d8f6f6a77")

// Job is work in the outside world that an event asks for.
type Job struct {
	Tenant string
	// ID derives from the event, so that enqueueing twice is one job.
	ID uuid.UUID
	// Topic names the handler.
	Topic string
	// Payload is JSON: ids and what else the handler can't look up, never a secret.
	Payload json.RawMessage
	// CorrelationID is that of the request that caused the event; CausationID is the event.
	CorrelationID, CausationID string
	// RunAfter is when it is due; the zero time is at once.
	RunAfter time.Time
	// Attempt counts, from 1, how often the job was taken since it was enqueued, or since an operator retried it; a node that
	// died over it counts too. It is 0 in a job that is not being done.
	Attempt int
}

// NewJob is the job that an event asks for on a topic.
func NewJob(event *projections.Event, topic string, payload any) (Job, error) {
	encoded, err := json.Marshal(payload)
	if err != nil {
		return Job{}, fmt.Errorf("encode a job for %s: %w", topic, err)
	}
	var meta struct {
		CorrelationID string `json:"correlation_id"`
	}
	_ = json.Unmarshal(event.Meta, &meta) // a job without a correlation id is better than none
	name := strings.Join([]string{event.Tenant, topic, strconv.FormatInt(event.Position, 10)}, "\x00")
	return Job{
		Tenant: event.Tenant, ID: uuid.NewSHA1(jobSpace, []byte(name)), Topic: topic, Payload: encoded,
		CorrelationID: meta.CorrelationID, CausationID: event.EventID.String(),
	}, nil
}

// CommandID is the id of the command that the job ends in.
func (j Job) CommandID() uuid.UUID { return uuid.NewSHA1(jobSpace, j.ID[:]) }

// Enqueue adds the job to the transaction that moves the checkpoint.
func (j Job) Enqueue(out *projections.Statements) error {
	metadata, err := json.Marshal(map[string]string{
		metadataTenant: j.Tenant, metadataCorrelation: j.CorrelationID, metadataCausation: j.CausationID,
	})
	if err != nil {
		return fmt.Errorf("encode a job's metadata: %w", err)
	}
	var due *time.Time
	if !j.RunAfter.IsZero() {
		due = &j.RunAfter
	}
	out.Exec(`insert into jobs (tenant_id, uuid, topic, payload, metadata, run_after) values ($1, $2, $3, $4, $5, coalesce($6, now()))
		on conflict do nothing`, j.Tenant, j.ID, j.Topic, []byte(j.Payload), metadata, due)
	return nil
}

// enqueueEach enqueues a job on a topic for each event with a payload of type E; wanted is what the handler is told.
func enqueueEach[E any](events []projections.Event, out *projections.Statements, topic string, wanted func(payload E) any) error {
	for i := range events {
		payload, ok := events[i].Payload.(E)
		if !ok {
			continue
		}
		job, err := NewJob(&events[i], topic, wanted(payload))
		if err != nil {
			return err
		}
		if err := job.Enqueue(out); err != nil {
			return err
		}
	}
	return nil
}

// reading is a handler that is given a job's payload, decoded.
func reading[P any](do func(ctx context.Context, job Job, payload P) error) func(context.Context, Job) error {
	return func(ctx context.Context, job Job) error {
		var payload P
		if err := json.Unmarshal(job.Payload, &payload); err != nil {
			return fmt.Errorf("read the job: %w", err)
		}
		return do(ctx, job, payload)
	}
}
