package routing_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"

	"github.com/archonhq/archon/domain/routing"
)

// A record is stored with every call: what is in logs has to be read, and decided again, for ever.
func TestTheGoldenRecordIsReadAndAgrees(t *testing.T) {
	t.Parallel()
	var ruleset routing.RulesetReplaced
	var fallback routing.FallbackReplaced
	var record routing.Record
	for name, into := range map[string]any{"routing.ruleset_replaced.v1.json": &ruleset, "routing.fallback_replaced.v1.json": &fallback, "record.v1.golden": &record} {
		stored, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(stored, into); err != nil {
			t.Fatal(err)
		}
		if again, err := json.Marshal(into); err != nil || string(again) != string(stored) {
			t.Errorf("%s: %s came back as %s (%v)", name, stored, again, err)
		}
	}
	_, agree, difference := record.Replay(ruleset.Ruleset, fallback.Fallback, func(id string, version int64) (routing.Configured, bool) {
		configured := routing.Configured{Name: id, Type: "openai", Enabled: true, Models: []string{"gpt-4o", "gpt-4o-mini"}, Capabilities: []string{"vision", "streaming"}}
		return configured, version == 3
	})
	if !agree {
		t.Error(difference)
	}
}

func TestStreamsNeverChange(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		routing.RulesetStream("acme"):  "ruleset-5728e263-c0ad-538e-804d-e4a605d46d3a",
		routing.FallbackStream("acme"): "fallback-5e475ccd-a019-5518-a6e9-441e1fd3af6d",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if routing.RulesetID("acme") == routing.RulesetID("globex") || routing.RulesetID("acme") == routing.FallbackID("acme") ||
		uuid.Validate(routing.RulesetID("")) != nil {
		t.Error("ids are not one a tenant and noun")
	}
}
