package usage_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/archonhq/archon/domain/usage"
)

// Golden files hold what is in logs for ever: they may be added to and never edited.
func TestEveryEventHasAGoldenFileThatItReadsWhole(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, event := range usage.Events() {
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

func TestStreamsNeverChange(t *testing.T) {
	t.Parallel()
	if got := usage.Stream("0190a1b2-0000-7000-8000-000000000001"); got != "usage-0190a1b2-0000-7000-8000-000000000001" {
		t.Errorf("got %s", got)
	}
}
