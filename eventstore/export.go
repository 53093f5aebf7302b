package eventstore

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// exportTime is RFC 3339 with microseconds, always six of them.
const exportTime = "2006-01-02T15:04:05.000000Z07:00"

// exportLine is one event of the export format; see docs/audit-format.md.
type exportLine struct {
	Tenant     string `json:"tenant_id"`
	Position   int64  `json:"position"`
	Stream     string `json:"stream"`
	Version    int64  `json:"version"`
	EventID    string `json:"event_id"`
	Type       string `json:"type"`
	OccurredAt string `json:"occurred_at"`
	CommandID  string `json:"command_id"`
	Meta       string `json:"meta"`
	Data       string `json:"data"`
	PrevHash   string `json:"prev_hash"`
	Hash       string `json:"hash"`
}

// ExportLine is the event as one line of NDJSON, without the line break: meta and data are strings that hold the exact
// bytes that were hashed, hashes are hex, occurred_at is RFC 3339 with microseconds.
func (r *Recorded) ExportLine() ([]byte, error) {
	line, err := json.Marshal(r.line())
	if err != nil {
		return nil, fmt.Errorf("export position %d: %w", r.Position, err)
	}
	return line, nil
}

func (r *Recorded) line() exportLine {
	return exportLine{
		Tenant: r.Tenant, Position: r.Position, Stream: r.Stream, Version: r.Version, EventID: r.EventID.String(), Type: r.Type,
		OccurredAt: r.Time().Format(exportTime), CommandID: r.CommandID.String(), Meta: string(r.Meta), Data: string(r.Data),
		PrevHash: hex.EncodeToString(r.PrevHash), Hash: hex.EncodeToString(r.Hash),
	}
}
