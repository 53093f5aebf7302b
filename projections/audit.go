package projections

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/audit"
	"github.com/archonhq/archon/domain/departments"
)

// AuditIndexName is the name of the projection that the audit list is searched by.
const AuditIndexName = "audit_index"

// maxAuditFieldBytes bounds what goes into an index, where PostgreSQL takes at most 2,700 bytes an entry; nothing honest
// comes near it.
const maxAuditFieldBytes = 500

// telemetryStreams is how streams of health samples begin; they are only listed where they are asked for.
const telemetryStreams = "providerhealth-"

// AuditIndex builds audit_index. It takes every event there is and is never stopped by what is in one: an audit trail
// that a strange byte could stop would be worth little. Bytes that are not what they should be leave their columns empty.
type AuditIndex struct{}

var _ Rebuildable = AuditIndex{}

// Name implements Projector.
func (AuditIndex) Name() string { return AuditIndexName }

// Version implements Projector.
func (AuditIndex) Version() int { return 1 }

// Tables implements Rebuildable.
func (AuditIndex) Tables() []string {
	return []string{"audit_index"}
}

// Handles implements Projector: all of them.
func (AuditIndex) Handles() []string { return nil }

// Project implements Projector.
func (AuditIndex) Project(events []Event, out *Statements) error {
	rows := newAuditRows(len(events))
	for i := range events {
		rows.add(&events[i])
	}
	out.Exec(`insert into audit_index (tenant_id, position, event_id, occurred_at, actor, actor_type, action, event_type, stream,
			resource_type, resource_id, correlation_id, causation_id, outcome, status_code, telemetry, search, created_at)
		select $1, u.position, u.event_id, u.occurred_at, u.actor, u.actor_type, u.action, u.event_type, u.stream,
			u.resource_type, u.resource_id, u.correlation_id, u.causation_id, u.outcome, u.status_code, u.telemetry, u.search, u.occurred_at
		from unnest($2::bigint[], $3::uuid[], $4::timestamptz[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
				$11::text[], $12::text[], $13::text[], $14::text[], $15::integer[], $16::boolean[], $17::text[])
			as u(position, event_id, occurred_at, actor, actor_type, action, event_type, stream, resource_type, resource_id,
				correlation_id, causation_id, outcome, status_code, telemetry, search)`,
		events[0].Tenant, rows.positions, rows.eventIDs, rows.times, rows.actors, rows.actorTypes, rows.actions, rows.types, rows.streams,
		rows.resourceTypes, rows.resourceIDs, rows.correlations, rows.causations, rows.outcomes, rows.statuses, rows.telemetry, rows.searches)
	return nil
}

// auditRows are the columns of a batch.
type auditRows struct {
	positions                  []int64
	eventIDs                   []uuid.UUID
	times                      []time.Time
	actors, actorTypes         []string
	actions, types, streams    []string
	resourceTypes, resourceIDs []*string
	correlations, causations   []*string
	outcomes                   []string
	statuses                   []*int
	telemetry                  []bool
	searches                   []string
}

func newAuditRows(n int) *auditRows {
	return &auditRows{
		positions: make([]int64, 0, n), eventIDs: make([]uuid.UUID, 0, n), times: make([]time.Time, 0, n),
		actors: make([]string, 0, n), actorTypes: make([]string, 0, n), actions: make([]string, 0, n), types: make([]string, 0, n),
		streams: make([]string, 0, n), resourceTypes: make([]*string, 0, n), resourceIDs: make([]*string, 0, n),
		correlations: make([]*string, 0, n), causations: make([]*string, 0, n), outcomes: make([]string, 0, n),
		statuses: make([]*int, 0, n), telemetry: make([]bool, 0, n), searches: make([]string, 0, n),
	}
}

func (r *auditRows) add(event *Event) {
	var meta domain.Meta
	if json.Unmarshal(event.Meta, &meta) != nil {
		meta = domain.Meta{}
	}
	action := event.Type
	if meta.Method != "" {
		action = meta.Method + " " + meta.Path
	}
	noun, id := resourceOf(event.Stream)
	outcome := "succeeded"
	if event.Type == (audit.WriteRefused{}).EventType() {
		outcome = "rejected"
		var refused audit.WriteRefused
		if json.Unmarshal(event.Data, &refused) != nil {
			refused = audit.WriteRefused{}
		}
		noun, id = refused.ResourceType, refused.ResourceID
	}
	telemetry := strings.HasPrefix(event.Stream, telemetryStreams)
	actor := auditField(meta.Actor.ID)
	action = auditField(action)

	r.positions = append(r.positions, event.Position)
	r.eventIDs = append(r.eventIDs, event.EventID)
	r.times = append(r.times, event.Time())
	r.actors = append(r.actors, actor)
	r.actorTypes = append(r.actorTypes, auditField(string(meta.Actor.Type)))
	r.actions = append(r.actions, action)
	r.types = append(r.types, event.Type)
	r.streams = append(r.streams, event.Stream)
	r.resourceTypes = append(r.resourceTypes, optionalField(noun))
	r.resourceIDs = append(r.resourceIDs, optionalField(id))
	r.correlations = append(r.correlations, optionalField(meta.CorrelationID))
	r.causations = append(r.causations, optionalField(meta.CausationID))
	r.outcomes = append(r.outcomes, outcome)
	r.statuses = append(r.statuses, statusField(meta.Status))
	r.telemetry = append(r.telemetry, telemetry)
	r.searches = append(r.searches, searchText(event, action, actor, telemetry))
}

// resourceOf splits a stream "<noun>-<uuid>", or one of a department, whose id may be any word; a stream that is not of that
// form is a noun without an id.
func resourceOf(stream string) (noun, id string) {
	if id, is := strings.CutPrefix(stream, departments.StreamPrefix); is {
		return "department", id
	}
	const uuidLength = 36
	at := len(stream) - uuidLength - 1
	if at < 1 || stream[at] != '-' || uuid.Validate(stream[at+1:]) != nil {
		return stream, ""
	}
	return stream[:at], stream[at+1:]
}

func auditField(text string) string { return storableText(text, maxAuditFieldBytes) }

func optionalField(text string) *string {
	if text == "" {
		return nil
	}
	text = auditField(text)
	return &text
}

// statusField is a status as a column: none where no request caused the event.
func statusField(status int) *int {
	const lowest, highest = 100, 599
	if status < lowest || status > highest {
		return nil
	}
	return &status
}
