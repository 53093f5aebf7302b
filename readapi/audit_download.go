package readapi

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/internal/httpx"
)

const (
	// downloadBatch is how many entries of a download are in memory at once.
	downloadBatch = 200
	// downloadPatience is how long a client may take to take in a batch.
	downloadPatience = time.Minute

	typeCSV    = "text/csv"
	typeNDJSON = "application/x-ndjson"
)

// auditDownload is the whole filtered list as a file. It ends where the log began, so what arrives meanwhile is not in it.
type auditDownload struct {
	ctx    context.Context //nolint:containedctx // of the request that it is the answer to
	audit  *Audit
	tenant string
	filter api.ListAuditParams
	write  auditFormat
}

// auditFormat is a kind of file: its media type, and what writes entries of it. Nothing may be left in a buffer.
type auditFormat func(w io.Writer) (mediaType string, header func() error, entry func(api.AuditEntry) error, flush func() error)

// downloadOf is the kind of file that a client asks for, nil where it asks for a page.
func downloadOf(ctx context.Context, params api.ListAuditParams) (auditFormat, error) {
	wanted := httpx.From(ctx).MediaType
	if params.Format != nil {
		wanted = map[api.ListAuditParamsFormat]string{api.ListAuditParamsFormatCsv: typeCSV, api.ListAuditParamsFormatNdjson: typeNDJSON}[*params.Format]
	}
	format := map[string]auditFormat{typeCSV: asCSV, typeNDJSON: asNDJSON}[wanted]
	if format == nil {
		return nil, nil //nolint:nilnil // a page
	}
	wrong := map[string]any{}
	if params.Limit != nil {
		wrong["limit"] = "is for pages; a file has all entries"
	}
	if params.Cursor != nil {
		wrong["cursor"] = "is for pages; a file has all entries"
	}
	if len(wrong) > 0 {
		return nil, httpx.InvalidParameters(wrong)
	}
	return format, nil
}

// VisitListAuditResponse implements api.ListAuditResponseObject. Once something has gone out, a failure can only be shown
// by breaking off.
func (d auditDownload) VisitListAuditResponse(w http.ResponseWriter) error {
	mediaType, header, entry, flush := d.write(w)
	begun := false
	begin := func() error {
		extension := map[string]string{typeCSV: ".csv", typeNDJSON: ".ndjson"}[mediaType]
		w.Header().Set("Content-Type", mediaType+"; charset=utf-8")
		w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": "audit-" + d.tenant + extension}))
		w.WriteHeader(http.StatusOK)
		begun = true
		return header()
	}
	err := d.each(func(entries []api.AuditEntry) error {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(downloadPatience)) // a recorder in a test has none
		if !begun {
			if err := begin(); err != nil {
				return err
			}
		}
		for i := range entries {
			if err := entry(entries[i]); err != nil {
				return err
			}
		}
		return flush()
	})
	if err != nil && begun {
		breakOff(w)
	}
	return err
}

// each visits all entries, newest first, in batches; at least one, which may be empty.
func (d auditDownload) each(visit func([]api.AuditEntry) error) error {
	before := int64(0)
	for {
		rows, err := d.audit.find(d.ctx, d.tenant, d.filter, before, downloadBatch)
		if err != nil {
			return err
		}
		entries, err := d.audit.entries(d.ctx, d.tenant, rows)
		if err != nil {
			return err
		}
		if err := visit(entries); err != nil {
			return fmt.Errorf("send the audit trail: %w", err)
		}
		if len(rows) < downloadBatch {
			return nil
		}
		before = rows[len(rows)-1].Position
	}
}

// breakOff closes the connection, so that the client does not take what it has for the whole.
func breakOff(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = conn.Close()
	}
}

func asNDJSON(w io.Writer) (mediaType string, header func() error, entry func(api.AuditEntry) error, flush func() error) {
	encoder := json.NewEncoder(w)
	nothing := func() error { return nil }
	return typeNDJSON, nothing, func(e api.AuditEntry) error { return encoder.Encode(e) }, nothing //nolint:wrapcheck // the caller wraps
}

// csvColumns are the fields of an entry, in the contract's order.
func csvColumns() []string {
	return []string{
		"position", "event_id", "occurred_at", "actor", "action", "resource_type", "resource_id", "outcome", "status_code", "ip_address", "user_agent",
		"correlation_id", "causation_id", "hash", "prev_hash", "data",
	}
}

func asCSV(w io.Writer) (mediaType string, header func() error, entry func(api.AuditEntry) error, flush func() error) {
	rows := csv.NewWriter(w)
	rows.UseCRLF = true                                                                              // RFC 4180
	return typeCSV, func() error { return rows.Write(csvColumns()) }, func(e api.AuditEntry) error { //nolint:wrapcheck // the caller wraps
			status := ""
			if e.StatusCode != nil {
				status = strconv.Itoa(*e.StatusCode)
			}
			row := []string{
				strconv.FormatInt(e.Position, 10), e.EventID, e.OccurredAt.Format(time.RFC3339Nano), e.Actor, e.Action, orEmpty(e.ResourceType), orEmpty(e.ResourceID),
				string(e.Outcome), status, orEmpty(e.IPAddress), orEmpty(e.UserAgent), orEmpty(e.CorrelationID), orEmpty(e.CausationID), e.Hash, e.PrevHash, string(e.Data),
			}
			for i, cell := range row {
				row[i] = harmless(cell)
			}
			return rows.Write(row) //nolint:wrapcheck // the caller wraps
		}, func() error {
			rows.Flush()
			return rows.Error() //nolint:wrapcheck // the caller wraps
		}
}

// harmless is a cell that no spreadsheet takes for a formula: a user agent is a stranger's text.
func harmless(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r\n", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}

func orEmpty(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}
