package eventstore

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"
	"golang.org/x/mod/sumdb/tlog"
)

// An export reads pages of at most pageRows events and pageBytes, or one larger event: that is its memory, and while a slow client
// takes it in no database connection waits.
const (
	pageRows  = 1000
	pageBytes = 1 << 20
	// exportBuffer makes few writes of many lines.
	exportBuffer = 64 << 10
)

// Export is what is exported: positions From to To of the log that was signed as Tree, with the signed note.
type Export struct {
	Tree *Tree
	// From and To are positions; 0 is the first and the last.
	From, To int64
	Note     string
}

// anchorLine begins an export that does not begin at position 1.
type anchorLine struct {
	Anchor anchor `json:"anchor"`
}

type anchor struct {
	Position int64  `json:"position"`
	Hash     string `json:"hash"`
	// Subtrees let a verifier go on building the tree from there.
	Subtrees []string `json:"subtrees"`
}

// sealLine ends an export.
type sealLine struct {
	Checkpoint string `json:"checkpoint"`
	// Consistency proves that the tree up to the last event begins that of the checkpoint, where that is larger.
	Consistency []string `json:"consistency,omitempty"`
}

// PrepareExport checks the range, and reads what stands before and after the events, so that nothing but the events themselves
// can go wrong in the middle of an answer. It fails with ErrRange where the tree has no such positions.
func (s *Store) PrepareExport(ctx context.Context, export Export) (*PreparedExport, error) {
	export.From = max(export.From, 1)
	if export.To == 0 {
		export.To = export.Tree.Size
	}
	if export.From > export.To || export.To > export.Tree.Size {
		return nil, fmt.Errorf("%w: %d to %d of %d events", ErrRange, export.From, export.To, export.Tree.Size)
	}
	p := &PreparedExport{store: s, export: export, seal: sealLine{Checkpoint: export.Note}}
	if export.To < export.Tree.Size {
		proof, err := export.Tree.Consistency(ctx, export.To, export.Tree.Size)
		if err != nil {
			return nil, err
		}
		p.seal.Consistency = hexed(proof)
	}
	if export.From == 1 {
		return p, nil
	}
	before, err := s.At(ctx, export.Tree.Tenant, []int64{export.From - 1})
	if err != nil {
		return nil, err
	}
	if len(before) != 1 {
		return nil, fmt.Errorf("%w: position %d is missing", ErrTreeBroken, export.From-1)
	}
	subtrees, err := export.Tree.Subtrees(ctx, export.From-1)
	if err != nil {
		return nil, err
	}
	p.anchor = &anchorLine{anchor{Position: export.From - 1, Hash: hex.EncodeToString(before[0].Hash), Subtrees: hexed(subtrees)}}
	return p, nil
}

func hexed(hashes []tlog.Hash) []string {
	texts := make([]string, len(hashes))
	for i := range hashes {
		texts[i] = hex.EncodeToString(hashes[i][:])
	}
	return texts
}

// PreparedExport is an export that is ready to be written.
type PreparedExport struct {
	store  *Store
	export Export
	anchor *anchorLine
	seal   sealLine
}

// Write writes the export as NDJSON, see docs/audit-format.md. It writes whatever rows the log has in the range, so that what was
// deleted shows. Where it fails the last line is missing, which tells that the export is not whole.
func (p *PreparedExport) Write(ctx context.Context, to io.Writer) error {
	w := bufio.NewWriterSize(to, exportBuffer)
	if p.anchor != nil {
		if err := writeLine(w, p.anchor); err != nil {
			return err
		}
	}
	for after := p.export.From - 1; after < p.export.To; {
		events, err := p.store.page(ctx, p.export.Tree.Tenant, after, p.export.To)
		if err != nil {
			return fmt.Errorf("export after position %d: %w", after, err)
		}
		if len(events) == 0 {
			break
		}
		for i := range events {
			line, err := events[i].ExportLine()
			if err != nil {
				return err
			}
			if _, err := w.Write(append(line, '\n')); err != nil {
				return fmt.Errorf("write an export: %w", err)
			}
		}
		after = events[len(events)-1].Position
	}
	if err := writeLine(w, p.seal); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write an export: %w", err)
	}
	return nil
}

func writeLine(w io.Writer, line any) error {
	encoded, err := json.Marshal(line)
	if err == nil {
		_, err = w.Write(append(encoded, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write an export: %w", err)
	}
	return nil
}

// page reads the events after a position, as many as are within its bounds, but one at least where there is one.
func (s *Store) page(ctx context.Context, tenant string, after, to int64) ([]Recorded, error) {
	var events []Recorded
	pipeline := &pgx.Batch{}
	pipeline.Queue(setTenant, tenant)
	pipeline.Queue(`select `+columns+` from (
			select *, sum(octet_length(meta) + octet_length(data)) over (order by position) - octet_length(meta) - octet_length(data) as before
			from (select `+columns+` from events where tenant_id = $1 and position > $2 and position <= $3 order by position limit $4) e) p
		where before < $5 order by position`, tenant, after, to, pageRows, pageBytes).Query(func(rows pgx.Rows) (err error) {
		events, err = Collect(tenant, rows)
		return err
	})
	if err := s.pool.SendBatch(ctx, pipeline).Close(); err != nil {
		return nil, Unavailable(err)
	}
	return events, nil
}
