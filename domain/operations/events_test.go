package operations_test

import (
	"testing"

	"github.com/google/uuid"

	"github.com/archonhq/archon/domain/operations"
)

func TestStreamsNeverChange(t *testing.T) {
	t.Parallel()
	if got := operations.ProjectionStream("providers"); got != "projection-1e0115d8-513d-5513-8122-7278478da964" || got == operations.ProjectionStream("audit_index") {
		t.Errorf("got %s", got)
	}
	id := uuid.NewString()
	if got := operations.JobStream(id); got != "job-"+id {
		t.Errorf("got %s", got)
	}
}
