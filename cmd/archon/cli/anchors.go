package cli

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/audit"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/transparency"
)

// anchoring is where this deployment puts its checkpoints; nil where it puts them nowhere.
func (n *node) anchoring() (*transparency.Anchoring, error) {
	var anchors []transparency.Anchor
	if n.cfg.AnchorDir != "" {
		anchors = append(anchors, transparency.Directory{Dir: n.cfg.AnchorDir})
	}
	if n.cfg.AnchorURL != "" {
		endpoint, err := transparency.NewEndpoint(n.cfg.AnchorURL)
		if err != nil {
			return nil, err //nolint:wrapcheck // says what it did
		}
		anchors = append(anchors, endpoint)
	}
	if len(anchors) == 0 {
		return nil, nil //nolint:nilnil // nowhere
	}
	return &transparency.Anchoring{
		Anchors: anchors, Unanchored: n.acrossTenants().Unanchored, Notes: n.store.Checkpoints, Record: n.recordReceipts, Keep: n.store.KeepAnchored,
	}, nil
}

// recordReceipts appends that the anchors have a checkpoint.
func (n *node) recordReceipts(ctx context.Context, tenant string, checkpoint eventstore.Checkpoint, receipts []transparency.Receipt) (int64, error) {
	event := audit.Anchored{Checkpoint: checkpointOf(checkpoint)}
	for _, receipt := range receipts {
		event.Anchors = append(event.Anchors, audit.Anchor{Name: receipt.Anchor, Receipt: receipt.Receipt})
	}
	encoded, err := n.codec.Encode(audit.Stream(tenant), event)
	if err != nil {
		return 0, fmt.Errorf("encode a receipt: %w", err)
	}
	meta, err := json.Marshal(domain.Meta{Actor: domain.Actor{ID: "checkpoints", Type: domain.System}, CorrelationID: newCorrelationID()})
	if err != nil {
		return 0, fmt.Errorf("encode a receipt: %w", err)
	}
	result, err := n.store.Append(ctx, eventstore.Append{Tenant: tenant, Events: []eventstore.NewEvent{encoded}, Meta: meta})
	return result.Last, err //nolint:wrapcheck // says what it did
}
