package audit_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/google/uuid"

	"github.com/archonhq/archon/domain/audit"
)

// Golden files hold what is in logs for ever: they may be added to and never edited.
func TestEveryEventHasAGoldenFileThatItReadsWhole(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, event := range audit.Events() {
		if seen[event.EventType()] {
			t.Errorf("%s is listed twice", event.EventType())
		}
		seen[event.EventType()] = true
		stored, err := os.ReadFile(filepath.Join("testdata", event.EventType()+".json"))
		if err != nil {
			t.Fatal(err)
		}
		value := reflect.New(reflect.TypeOf(event))
		if err := json.Unmarshal(stored, value.Interface()); err != nil {
			t.Fatalf("%s: %v", event.EventType(), err)
		}
		again, err := json.Marshal(value.Interface())
		if err != nil {
			t.Fatal(err)
		}
		var want, got any
		if json.Unmarshal(stored, &want) != nil || json.Unmarshal(again, &got) != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %s came back as %s", event.EventType(), stored, again)
		}
		if value.Elem().IsZero() {
			t.Errorf("%s: the golden file says nothing", event.EventType())
		}
	}
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) != len(seen) {
		t.Errorf("%d files for %d events (%v)", len(files), len(seen), err)
	}
}

func TestAStreamIsATenantsForEver(t *testing.T) {
	t.Parallel()
	if got := audit.Stream("acme"); got != "audit-9bb46b06-0d63-5327-89b7-2130c38212e5" || got == audit.Stream("globex") {
		t.Errorf("got %s", got)
	}
	if uuid.Validate(audit.Stream("")[len("audit-"):]) != nil {
		t.Error("not <noun>-<uuid>")
	}
}
