package usage_test

import (
	"testing"

	"github.com/archonhq/archon/domain/usage"
)

func TestStreamsNeverChange(t *testing.T) {
	t.Parallel()
	if got := usage.Stream("0190a1b2-0000-7000-8000-000000000001"); got != "usage-0190a1b2-0000-7000-8000-000000000001" {
		t.Errorf("got %s", got)
	}
}
