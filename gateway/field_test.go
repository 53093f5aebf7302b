package gateway

import (
	"testing"

	"github.com/archonhq/archon/internal/netguard"
)

// TestCheckField is about the two kinds of field that the contract allows and
// no provider type has yet, which is why it is written from within.
func TestCheckField(t *testing.T) {
	t.Parallel()

	region := Field{Name: "region", Type: FieldSelect, Options: []string{"eu", "us"}}
	limit := Field{Name: "limit", Type: FieldNumber}

	for _, example := range []struct {
		field Field
		value string
		want  string
	}{
		{region, "eu", ""},
		{region, "mars", "must be one of eu, us"},
		{limit, "1.5", ""},
		{limit, "many", "is not a number"},
	} {
		if got := checkField(example.field, example.value, netguard.Policy{}); got != example.want {
			t.Errorf("%s %q: got %q, want %q", example.field.Name, example.value, got, example.want)
		}
	}
}
