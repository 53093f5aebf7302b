package cli

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/audit"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/eventcodec"
	"github.com/archonhq/archon/internal/transparency"
)

// maxReasonBytes bounds what an operator says; it is in the log for ever.
const maxReasonBytes = 500

func (p Process) incarnateCommand() *cobra.Command {
	var reason string
	cmd := p.signedCommand(&cobra.Command{
		Use: "incarnate --tenant T --reason TEXT", Short: "Declare that a tenant's log was restored from a backup",
		Long: "After a restore the log contradicts what was signed of it, and is not signed any more. This declares that it was restored on purpose:\nan event names what was lost and the last checkpoint that survived, and from then on the log is signed under a new origin, with the next\nincarnation in its name. Verify the log first. The reason is in the log for ever; name no persons in it.",
	}, func(ctx context.Context, store *eventstore.Store, signer *transparency.Signer, tenant string) error {
		if strings.TrimSpace(reason) == "" || len(reason) > maxReasonBytes {
			return usageError{fmt.Errorf("--reason is needed, of at most %d bytes", maxReasonBytes)}
		}
		made, err := signer.Incarnate(ctx, tenant, func(ctx context.Context, incarnation transparency.Incarnation) error {
			return declare(ctx, store, tenant, reason, incarnation)
		})
		if err != nil {
			return err //nolint:wrapcheck // says what it did
		}
		survived := "no checkpoint is known to have survived"
		if made.Surviving.Size > 0 {
			survived = fmt.Sprintf("the checkpoint of %d events survived", made.Surviving.Size)
		}
		_, err = fmt.Fprintf(p.Stdout, "%s: incarnation %d; %s, that of %d events is lost; get the new key with `archon audit key --tenant %s`\n",
			tenant, made.Number, survived, made.Lost.Size, tenant)
		return err //nolint:wrapcheck // writing to stdout
	})
	cmd.Flags().StringVar(&reason, "reason", "", "why, for those who read the log later")
	return cmd
}

// declare appends the event that says so.
func declare(ctx context.Context, store *eventstore.Store, tenant, reason string, incarnation transparency.Incarnation) error {
	event := audit.Incarnated{Incarnation: incarnation.Number, Lost: checkpointOf(incarnation.Lost), Reason: reason}
	if incarnation.Surviving.Size > 0 {
		surviving := checkpointOf(incarnation.Surviving)
		event.Surviving = &surviving
	}
	encoded, err := eventcodec.New().Encode(audit.Stream(tenant), event)
	if err != nil {
		return fmt.Errorf("encode the declaration: %w", err)
	}
	meta, err := json.Marshal(domain.Meta{Actor: domain.Actor{ID: "archon audit incarnate", Type: domain.System}, CorrelationID: newCorrelationID()})
	if err != nil {
		return fmt.Errorf("encode the declaration: %w", err)
	}
	_, err = store.Append(ctx, eventstore.Append{Tenant: tenant, Events: []eventstore.NewEvent{encoded}, Meta: meta})
	return errors.Join(err, store.Close(ctx))
}

func checkpointOf(checkpoint eventstore.Checkpoint) audit.Checkpoint {
	return audit.Checkpoint{Origin: checkpoint.Origin, Size: checkpoint.Size, Root: hex.EncodeToString(checkpoint.Root[:])}
}
