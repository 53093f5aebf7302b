package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/commands"
	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/routing"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/eventcodec"
	"github.com/archonhq/archon/internal/replay"
)

func (p Process) routingCommand() *cobra.Command {
	var from, to, draft string
	r := replaying{process: p}
	cmd := &cobra.Command{
		Use: "replay [--from TIME] [--to TIME] [--tenant T] [--ruleset draft.json]", Short: "Decide again where recorded calls went",
		Long: "Makes every routing decision that the log holds again and prints those that come out differently; exit code 1 where one does.\nWith --ruleset, a file like the body of PUT /api/v1/router/rules/visual, it prints what that draft would have changed: the calls\nthat would have gone elsewhere, and their cost where prices are known from the calls read. See docs/routing.md.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if r.from, err = timeFlag("from", from); err != nil {
				return err
			}
			if r.to, err = timeFlag("to", to); err != nil {
				return err
			}
			if draft != "" {
				if r.draft, err = readDraft(draft); err != nil {
					return err
				}
			}
			cfg, err := p.settings(true)
			if err != nil {
				return err
			}
			return p.withLog(cmd.Context(), cfg, r.run)
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "calls recorded at this time or later, RFC 3339; the beginning where it is left out")
	cmd.Flags().StringVar(&to, "to", "", "calls recorded at this time or earlier, RFC 3339; now where it is left out")
	cmd.Flags().StringVar(&r.tenant, "tenant", "", "this tenant only")
	cmd.Flags().StringVar(&draft, "ruleset", "", "a file with rules to compare with")
	cmd.Flags().BoolVar(&r.json, "json", false, "print JSON lines: a disagreement each, then a report a tenant")
	return group("routing", "Where calls go", cmd)
}

// timeFlag reads a time, the zero one where none is given.
func timeFlag(name, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, usageError{fmt.Errorf("--%s must be a time such as 2026-03-01T12:00:00Z", name)}
	}
	return at, nil
}

// readDraft reads a ruleset as a client sends it. Rules without an id are named after their place.
func readDraft(path string) (*routing.Ruleset, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the draft: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	var sent api.ReplaceRoutingRules
	if err := decoder.Decode(&sent); err != nil {
		return nil, fmt.Errorf("read the draft %s: %w", path, err)
	}
	if decoder.More() {
		return nil, fmt.Errorf("read the draft %s: there is something behind the rules", path)
	}
	ruleset, err := commands.RulesetOf(&sent)
	if err == nil {
		for i := range ruleset.Rules {
			ruleset.Rules[i].ID = cmp.Or(ruleset.Rules[i].ID, fmt.Sprintf("rule-%d", i+1))
		}
		err = ruleset.Problem(nil)
	}
	if refusal, is := errors.AsType[*domain.Refusal](err); is {
		var lines []string
		for field, reason := range refusal.Details {
			lines = append(lines, fmt.Sprintf("%s %v", field, reason))
		}
		slices.Sort(lines)
		return nil, fmt.Errorf("the draft %s is not valid: %s", path, strings.Join(lines, "; "))
	}
	return &ruleset, err
}

// replaying is one run of `archon routing replay`.
type replaying struct {
	process  Process
	tenant   string
	from, to time.Time
	draft    *routing.Ruleset
	json     bool
}

func (r *replaying) run(ctx context.Context, store *eventstore.Store) error {
	tenants := []string{r.tenant}
	if r.tenant == "" {
		var err error
		if tenants, err = store.Tenants(ctx); err != nil {
			return err //nolint:wrapcheck // says what it did
		}
	}
	disagreed := false
	for _, tenant := range tenants {
		report, err := r.tenantReport(ctx, store, tenant)
		if err != nil {
			return fmt.Errorf("%s: %w", tenant, err)
		}
		disagreed = disagreed || report.Disagreed > 0
		r.show(report)
	}
	if disagreed {
		return errQuiet
	}
	return nil
}

func (r *replaying) tenantReport(ctx context.Context, store *eventstore.Store, tenant string) (replay.Report, error) {
	options := replay.Options{Tenant: tenant, Draft: r.draft, Each: r.disagrees}
	head, err := store.Head(ctx, tenant)
	if err != nil {
		return replay.Report{}, err //nolint:wrapcheck // says what it did
	}
	options.Until = head.Position
	if !r.from.IsZero() {
		if options.After, err = store.PositionAt(ctx, tenant, r.from.Add(-time.Microsecond)); err != nil {
			return replay.Report{}, err //nolint:wrapcheck // says what it did
		}
	}
	if !r.to.IsZero() {
		if options.Until, err = store.PositionAt(ctx, tenant, r.to); err != nil {
			return replay.Report{}, err //nolint:wrapcheck // says what it did
		}
	}
	return replay.Run(ctx, store, eventcodec.New(), options) //nolint:wrapcheck // says where
}

func (r *replaying) disagrees(one replay.Disagreement) {
	if r.json {
		r.line(one)
		return
	}
	fmt.Fprintf(r.process.Stdout, "%s: position %d, call %s: %s\n", one.Tenant, one.Position, one.CallID, one.Why)
}

func (r *replaying) line(value any) {
	encoded, err := json.Marshal(value)
	if err != nil {
		fmt.Fprintf(r.process.Stderr, "archon: print a line: %v\n", err)
		return
	}
	fmt.Fprintf(r.process.Stdout, "%s\n", encoded)
}

func (r *replaying) show(report replay.Report) {
	if r.json {
		r.line(report)
		return
	}
	out := r.process.Stdout
	fmt.Fprintf(out, "%s: %d calls, %d without a decision; %d decisions agree, %d disagree\n",
		report.Tenant, report.Calls, report.Undecided, report.Agreed, report.Disagreed)
	draft := report.Draft
	if draft == nil || draft.Calls == 0 {
		return
	}
	fmt.Fprintf(out, "%s: with the draft, %d of %d calls would have gone elsewhere, %d of them nowhere\n", report.Tenant, draft.Moved, draft.Calls, draft.Refused)
	for _, move := range draft.Moves {
		fmt.Fprintf(out, "  %s -> %s: %d\n", provider(move.From, move.FromName), provider(move.To, move.ToName), move.Calls)
	}
	if draft.Cost.Known > 0 {
		fmt.Fprintf(out, "  cost of %d of them: was %s USD, would be %s USD, difference %s USD\n", draft.Cost.Known, draft.Cost.Was, draft.Cost.WouldBe, draft.Cost.Difference())
	}
	if draft.Cost.Unknown > 0 {
		fmt.Fprintf(out, "  cost of %d of them: unknown, since no call that was read says a price\n", draft.Cost.Unknown)
	}
	if draft.Failed > 0 {
		fmt.Fprintf(out, "  %d calls failed, %d of them would have gone to a provider that was not tried\n", draft.Failed, draft.Elsewhere)
	}
}

// provider is a provider in a line for people.
func provider(id, name string) string {
	switch {
	case id == "":
		return "nowhere"
	case name == "":
		return id
	}
	return fmt.Sprintf("%s (%s)", name, id)
}
