package projections_test

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain/providers"
	"github.com/archonhq/archon/projections"
)

// The rows of the tables, in a form that compares.
type (
	providerRow struct {
		ID, Name, Type, BaseURL, VaultPath       string
		SecretVersion                            int
		IsEnabled                                bool
		RPM                                      int64
		Models, Headers, HealthStatus            string
		Version, DeletedAt, CreatedAt, UpdatedAt int64
	}
	healthRow struct {
		ID                   string
		OK                   bool
		Failures             int
		Latency              int64
		Models               int
		Error                string
		CheckedAt, CreatedAt int64
	}
	historyRow struct {
		Provider  string
		At        int64
		Probe     string // the event's id, of probes
		Latency   float64
		ErrorRate float64
		Requests  int64
		Status    string
	}
	slotRow struct {
		Provider         string
		Seconds, Start   int64
		Requests, Errors int64
		Latency          string
	}
)

func (b *bench) providerRows(ctx context.Context, tenant string) []providerRow {
	return collect[providerRow](ctx, b, `select id::text, name, type, base_url, vault_path, secret_version, is_enabled, coalesce(rate_limit_rpm, 0),
		supported_models::text, custom_headers::text, health_status, version, coalesce(extract(epoch from deleted_at) * 1e6, 0)::bigint,
		(extract(epoch from created_at) * 1e6)::bigint, (extract(epoch from updated_at) * 1e6)::bigint
		from model_providers where tenant_id = $1 order by id`, tenant)
}

func (b *bench) healthRows(ctx context.Context, tenant string) []healthRow {
	return collect[healthRow](ctx, b, `select provider_id::text, ok, failures, latency_ms, models_found, error, (extract(epoch from last_check_at) * 1e6)::bigint,
		(extract(epoch from created_at) * 1e6)::bigint from provider_health where tenant_id = $1 order by provider_id`, tenant)
}

func (b *bench) historyRows(ctx context.Context, tenant string) []historyRow {
	return collect[historyRow](ctx, b, `select provider_id::text, (extract(epoch from recorded_at) * 1e6)::bigint, case when error_rate_pct is null and timed_count = 0 and latency_ms is not null then id::text else '' end,
		coalesce(latency_ms, -1), coalesce(error_rate_pct, -1), requests_count, status
		from provider_health_history where tenant_id = $1 order by provider_id, recorded_at, 3`, tenant)
}

// slotRows are the slots that hold anything, without the blocks that they lie in.
func (b *bench) slotRows(ctx context.Context, tenant string) []slotRow {
	rows := collect[slotRow](ctx, b, `select provider_id::text, seconds, (extract(epoch from block_start))::bigint + seconds * (i - 1), r, e, l::text
		from provider_health_slots, unnest(requests, errors, latency) with ordinality as u(r, e, l, i)
		where tenant_id = $1 and (r > 0 or e > 0 or l > 0) order by provider_id, seconds, 3`, tenant)
	for i := range rows {
		histogram, err := providers.FromNumber(rows[i].Latency)
		Expect(err).NotTo(HaveOccurred())
		rows[i].Latency = buckets(&histogram)
	}
	return rows
}

// buckets is a histogram as text.
func buckets(h *providers.Histogram) string {
	text, err := h.MarshalJSON()
	Expect(err).NotTo(HaveOccurred())
	return string(text)
}

// tally is what calls came to.
type tally struct {
	requests, errors int64
	latency          providers.Histogram
}

// tables are what the read tables should be, after a plain fold of one event after the other.
type tables struct {
	providers []providerRow
	health    []healthRow
	probes    []historyRow
	samples   map[string][]projections.Event
}

func foldLog(log []projections.Event) *tables {
	t := &tables{samples: map[string][]projections.Event{}}
	rows, probed := map[string]*providerRow{}, map[string]*healthRow{}
	for _, event := range log {
		switch e := event.Payload.(type) {
		case providers.Registered:
			rows[e.ProviderID] = &providerRow{ID: e.ProviderID, CreatedAt: event.OccurredAt, HealthStatus: "unknown"}
			rows[e.ProviderID].configure(event, e.Config, e.Secret)
		case providers.Updated:
			rows[e.ProviderID].configure(event, e.Config, e.Secret)
		case providers.CredentialsRotated:
			rows[e.ProviderID].touch(event, &e.Secret)
		case providers.Deleted:
			rows[e.ProviderID].touch(event, nil)
			rows[e.ProviderID].DeletedAt = event.OccurredAt
		case providers.SecretRemoved:
			rows[e.ProviderID].touch(event, nil)
		case providers.Probed:
			t.probed(event, e, probed)
			rows[e.ProviderID].HealthStatus = t.status(e.ProviderID, probed[e.ProviderID], event.Time())
		case providers.Sampled:
			t.samples[e.ProviderID] = append(t.samples[e.ProviderID], event)
			rows[e.ProviderID].HealthStatus = t.status(e.ProviderID, probed[e.ProviderID], event.Time())
		}
	}
	for _, row := range rows {
		t.providers = append(t.providers, *row)
	}
	for _, row := range probed {
		t.health = append(t.health, *row)
	}
	slices.SortFunc(t.providers, func(a, b providerRow) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(t.health, func(a, b healthRow) int { return cmp.Compare(a.ID, b.ID) })
	return t
}

func (r *providerRow) touch(event projections.Event, secret *providers.Secret) {
	r.Version, r.UpdatedAt = event.Version, event.OccurredAt
	if secret != nil {
		r.VaultPath, r.SecretVersion = secret.VaultPath, secret.SecretVersion
	}
}

func (r *providerRow) configure(event projections.Event, config providers.Config, secret providers.Secret) {
	r.touch(event, &secret)
	r.Name, r.Type, r.BaseURL, r.IsEnabled, r.RPM = config.Name, string(config.Type), config.BaseURL, config.IsEnabled, 0
	if config.RateLimitRPM != nil {
		r.RPM = *config.RateLimitRPM
	}
	r.Models, r.Headers = jsonb(config.SupportedModels), jsonb(config.CustomHeaders)
}

// jsonb is a list as PostgreSQL prints it.
func jsonb(list []string) string {
	text := "["
	for i, item := range list {
		if i > 0 {
			text += ", "
		}
		encoded, err := json.Marshal(item)
		Expect(err).NotTo(HaveOccurred())
		text += string(encoded)
	}
	return text + "]"
}

func (t *tables) probed(event projections.Event, e providers.Probed, probed map[string]*healthRow) {
	row := probed[e.ProviderID]
	if row == nil {
		row = &healthRow{ID: e.ProviderID, CreatedAt: event.OccurredAt}
		probed[e.ProviderID] = row
	}
	row.OK, row.Failures, row.Latency, row.Models, row.Error, row.CheckedAt = e.OK, e.Failures, e.LatencyMS, e.ModelsFound, e.Error, e.CheckedAt.UnixMicro()
	status := providers.Healthy
	if !e.OK {
		status = providers.Unhealthy
	}
	t.probes = append(t.probes, historyRow{
		Provider: e.ProviderID, At: e.CheckedAt.UnixMicro(), Probe: event.EventID.String(), Latency: float64(e.LatencyMS), ErrorRate: -1, Status: string(status),
	})
}

// status is a provider's as of an event.
func (t *tables) status(id string, probe *healthRow, at time.Time) string {
	var calls tally
	for _, event := range t.samples[id] {
		sample := event.Payload.(providers.Sampled)
		start := sample.From.Truncate(10 * time.Second)
		if start.After(at.Add(-5*time.Minute)) && !start.After(at) {
			calls.requests += sample.Requests
			calls.errors += sample.Errors
		}
	}
	health := providers.Health{}
	if probe != nil {
		health = providers.Health{Tested: true, OK: probe.OK, Failures: probe.Failures}
	}
	return string(providers.StatusOf(health, calls.requests, calls.errors))
}

// tallies sums a provider's samples in slots of a width.
func (t *tables) tallies(id string, width time.Duration) map[int64]*tally {
	slots := map[int64]*tally{}
	for _, event := range t.samples[id] {
		sample := event.Payload.(providers.Sampled)
		start := sample.From.Truncate(width).Unix()
		if slots[start] == nil {
			slots[start] = &tally{}
		}
		slots[start].requests += sample.Requests
		slots[start].errors += sample.Errors
		slots[start].latency.Merge(&sample.Latency)
	}
	return slots
}

func (t *tables) history() []historyRow {
	rows := slices.Clone(t.probes)
	for id := range t.samples {
		for start, calls := range t.tallies(id, time.Minute) {
			row := historyRow{Provider: id, At: start * 1e6, Latency: -1, ErrorRate: -1, Requests: calls.requests, Status: string(providers.StatusOf(providers.Health{}, calls.requests, calls.errors))}
			if timed, totalMS := calls.latency.AppendCounts(nil).Total(); timed > 0 {
				row.Latency = float64(totalMS) / float64(timed)
			}
			if calls.requests > 0 {
				row.ErrorRate = float64(calls.errors) * 100 / float64(calls.requests)
			}
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, func(a, b historyRow) int {
		return cmp.Or(cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.At, b.At), cmp.Compare(a.Probe, b.Probe))
	})
	return rows
}

func (t *tables) slots() []slotRow {
	var rows []slotRow
	for id, samples := range t.samples {
		newest := samples[len(samples)-1].Time()
		for width, keep := range map[time.Duration]time.Duration{10 * time.Second: time.Hour, time.Minute: 24 * time.Hour, 10 * time.Minute: 7 * 24 * time.Hour} {
			for start, calls := range t.tallies(id, width) {
				block := time.Unix(start, 0).Truncate(6 * width)
				if block.Before(newest.Add(-keep-6*width)) || (calls.requests == 0 && calls.latency.Total() == 0) {
					continue
				}
				rows = append(rows, slotRow{Provider: id, Seconds: int64(width / time.Second), Start: start, Requests: calls.requests, Errors: calls.errors, Latency: buckets(&calls.latency)})
			}
		}
	}
	slices.SortFunc(rows, func(a, b slotRow) int {
		return cmp.Or(cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Seconds, b.Seconds), cmp.Compare(a.Start, b.Start))
	})
	return rows
}
