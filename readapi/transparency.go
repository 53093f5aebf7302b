package readapi

import (
	"context"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/httpx"
	"github.com/archonhq/archon/internal/transparency"
)

// Signer signs the logs of tenants; *transparency.Signer is one.
type Signer interface {
	Checkpoint(ctx context.Context, tenant string) (transparency.Signed, error)
	Key(ctx context.Context, tenant string) (origin, vkey string, err error)
}

// Exports prepares exports; *eventstore.Store does.
type Exports interface {
	PrepareExport(ctx context.Context, export eventstore.Export) (*eventstore.PreparedExport, error)
	At(ctx context.Context, tenant string, positions []int64) ([]eventstore.Recorded, error)
}

// Transparency answers with what an outsider needs to check the log without trusting whoever runs it.
type Transparency struct {
	Signer  Signer
	Exports Exports
}

// GetAuditCheckpoint implements api.StrictServerInterface.
func (t *Transparency) GetAuditCheckpoint(ctx context.Context, _ api.GetAuditCheckpointRequestObject) (api.GetAuditCheckpointResponseObject, error) {
	signed, err := t.sign(ctx)
	if err != nil {
		return nil, err
	}
	return api.GetAuditCheckpoint200TextResponse(signed.Note), nil
}

// GetAuditKey implements api.StrictServerInterface.
func (t *Transparency) GetAuditKey(ctx context.Context, _ api.GetAuditKeyRequestObject) (api.GetAuditKeyResponseObject, error) {
	origin, key, err := t.Signer.Key(ctx, httpx.From(ctx).Principal.Tenant)
	if err != nil {
		return nil, refusedOr(err)
	}
	return api.GetAuditKey200JSONResponse{Data: api.AuditKey{Origin: origin, Key: key}, Meta: httpx.Meta(ctx)}, nil
}

// ProveAuditEntry implements api.StrictServerInterface.
func (t *Transparency) ProveAuditEntry(ctx context.Context, request api.ProveAuditEntryRequestObject) (api.ProveAuditEntryResponseObject, error) {
	position, err := strconv.ParseInt(request.Position, 10, 64)
	if err != nil || position < 1 {
		return nil, httpx.NotFound()
	}
	signed, err := t.sign(ctx)
	if err != nil {
		return nil, err
	}
	if position > signed.Size {
		return nil, httpx.NotFound()
	}
	events, err := t.Exports.At(ctx, signed.Tree.Tenant, []int64{position})
	if err != nil {
		return nil, err //nolint:wrapcheck // the store's errors are part of the API
	}
	if len(events) == 0 {
		return nil, httpx.NotFound() // the row is gone from the log: `audit verify` names it
	}
	proof, err := signed.Tree.Inclusion(ctx, position, signed.Size)
	if err != nil {
		return nil, refusedOr(err)
	}
	leaf := tlog.RecordHash(events[0].Hash)
	return api.ProveAuditEntry200JSONResponse{Meta: httpx.Meta(ctx), Data: api.AuditInclusion{
		Position: position, LeafIndex: position - 1, EventHash: hex.EncodeToString(events[0].Hash), LeafHash: hexOf(leaf),
		TreeSize: signed.Size, Root: hexOf(signed.Root), Proof: hexAll(proof), Checkpoint: signed.Note,
	}}, nil
}

// ProveAuditConsistency implements api.StrictServerInterface.
func (t *Transparency) ProveAuditConsistency(ctx context.Context, request api.ProveAuditConsistencyRequestObject) (api.ProveAuditConsistencyResponseObject, error) {
	signed, err := t.sign(ctx)
	if err != nil {
		return nil, err
	}
	from, to := int64(1), signed.Size
	if request.Params.From != nil {
		from = *request.Params.From
	}
	if request.Params.To != nil {
		to = *request.Params.To
	}
	if from > to || to > signed.Size {
		return nil, errRangeOfLog
	}
	proof, err := signed.Tree.Consistency(ctx, from, to)
	if err != nil {
		return nil, refusedOr(err)
	}
	fromRoot, err := signed.Tree.Root(ctx, from)
	if err != nil {
		return nil, refusedOr(err)
	}
	toRoot, err := signed.Tree.Root(ctx, to)
	if err != nil {
		return nil, refusedOr(err)
	}
	return api.ProveAuditConsistency200JSONResponse{Meta: httpx.Meta(ctx), Data: api.AuditConsistency{
		From: from, To: to, FromRoot: hexOf(fromRoot), ToRoot: hexOf(toRoot), Proof: hexAll(proof), Checkpoint: signed.Note,
	}}, nil
}

// ExportAudit implements api.StrictServerInterface.
func (t *Transparency) ExportAudit(ctx context.Context, request api.ExportAuditRequestObject) (api.ExportAuditResponseObject, error) {
	signed, err := t.sign(ctx)
	if err != nil {
		return nil, err
	}
	export := eventstore.Export{Tree: signed.Tree, Note: signed.Note}
	if request.Params.From != nil {
		export.From = *request.Params.From
	}
	if request.Params.To != nil {
		export.To = *request.Params.To
	}
	prepared, err := t.Exports.PrepareExport(ctx, export)
	if errors.Is(err, eventstore.ErrRange) {
		return nil, errRangeOfLog
	}
	if err != nil {
		return nil, refusedOr(err)
	}
	return exportedLog{ctx: ctx, prepared: prepared}, nil
}

// exportedLog is an export as an answer. It is written line by line as the log is read.
type exportedLog struct {
	ctx      context.Context //nolint:containedctx // the generated interface hands over none
	prepared *eventstore.PreparedExport
}

// VisitExportAuditResponse implements api.ExportAuditResponseObject.
func (e exportedLog) VisitExportAuditResponse(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Content-Disposition", `attachment; filename="audit.ndjson"`)
	w.WriteHeader(http.StatusOK)
	return e.prepared.Write(e.ctx, w) //nolint:wrapcheck // says what it did
}

var errRangeOfLog = httpx.InvalidParameters(map[string]any{"from": "from and to must be a range of positions that the log has"})

func (t *Transparency) sign(ctx context.Context) (transparency.Signed, error) {
	signed, err := t.Signer.Checkpoint(ctx, httpx.From(ctx).Principal.Tenant)
	return signed, refusedOr(err)
}

// refusedOr makes what the signer refuses an answer; other errors stay what they are.
func refusedOr(err error) error {
	failure := &httpx.Error{
		Status: http.StatusConflict, Code: "checkpoint_refused",
		Message: "The log contradicts what was signed of it before, so it is not signed. An operator has to look.",
	}
	refusal, refused := errors.AsType[*transparency.Refusal](err)
	switch {
	case refused:
		failure.Details = map[string]any{"reason": refusal.Reason, "signed_size": refusal.SignedSize}
		return failure
	case errors.Is(err, eventstore.ErrTreeBroken):
		failure.Details = map[string]any{"reason": eventstore.ErrTreeBroken.Error()}
		return failure
	case errors.Is(err, transparency.ErrEmpty):
		return &httpx.Error{Status: http.StatusNotFound, Code: httpx.CodeNotFound, Message: "The log has no events yet."}
	}
	return err
}

func hexOf(hash tlog.Hash) string { return hex.EncodeToString(hash[:]) }

func hexAll(hashes []tlog.Hash) []string {
	texts := make([]string, len(hashes))
	for i := range hashes {
		texts[i] = hexOf(hashes[i])
	}
	return texts
}
