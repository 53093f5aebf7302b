package reactions

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/archonhq/archon/domain/alerts"
	"github.com/archonhq/archon/domain/prices"
	"github.com/archonhq/archon/projections"
)

// ResolveUnpricedTopic is the topic of jobs that resolve alerts about models which have a price now.
const ResolveUnpricedTopic = "alerts.resolve_unpriced"

// AlertResolution asks for a look at the alerts about models without a price whenever that may resolve one: after a price
// was set, when one that was set ahead begins to hold, and after an alert was raised, since the price may have come first.
type AlertResolution struct{}

var _ projections.Projector = AlertResolution{}

// Name implements projections.Projector.
func (AlertResolution) Name() string { return "alert_resolution" }

// Version implements projections.Projector.
func (AlertResolution) Version() int { return 1 }

// Handles implements projections.Projector.
func (AlertResolution) Handles() []string {
	return []string{prices.Overridden{}.EventType(), alerts.Raised{}.EventType()}
}

type resolveUnpriced struct {
	// Position is the event's, up to which the table of alerts has to be.
	Position int64 `json:"position"`
	// Moment has come, whatever the clock of the node says that does the job.
	Moment time.Time `json:"moment"`
}

// Project implements projections.Projector.
func (AlertResolution) Project(events []projections.Event, out *projections.Statements) error {
	for i := range events {
		event := &events[i]
		for _, moment := range occasions(event) {
			job, err := NewJob(event, ResolveUnpricedTopic, resolveUnpriced{Position: event.Position, Moment: moment})
			if err != nil {
				return err
			}
			if moment.After(event.Time()) {
				job = job.at(moment)
			}
			if err := job.Enqueue(out); err != nil {
				return err
			}
		}
	}
	return nil
}

// occasions are the moments at which an event may resolve alerts, each once: that of the event, and later ones.
func occasions(event *projections.Event) []time.Time {
	switch payload := event.Payload.(type) {
	case alerts.Raised:
		if payload.Kind == alerts.UnpricedModel {
			return []time.Time{event.Time()}
		}
	case prices.Overridden:
		var moments []time.Time
		seen := map[time.Time]bool{}
		for _, override := range payload.Overrides {
			at := override.EffectiveFrom.UTC()
			if at.Before(event.Time()) {
				at = event.Time()
			}
			if !seen[at] {
				seen[at] = true
				moments = append(moments, at)
			}
		}
		return moments
	}
	return nil
}

// at is the job put off to a moment, which makes it another one than that of the same event at once.
func (j Job) at(moment time.Time) Job {
	j.ID = uuid.NewSHA1(jobSpace, append(j.ID[:], strconv.FormatInt(moment.UnixMicro(), 10)...))
	j.RunAfter = moment
	return j
}

// ResolveUnpriced does the jobs of AlertResolution with the use case that it is given.
func ResolveUnpriced(resolve func(ctx context.Context, job Job, position int64, moment time.Time) error) func(context.Context, Job) error {
	return func(ctx context.Context, job Job) error {
		var payload resolveUnpriced
		if err := json.Unmarshal(job.Payload, &payload); err != nil {
			return fmt.Errorf("read the job: %w", err)
		}
		return resolve(ctx, job, payload.Position, payload.Moment)
	}
}
