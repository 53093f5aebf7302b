package audit_test

import (
	"testing"

	"github.com/google/uuid"

	"github.com/archonhq/archon/domain/audit"
)

func TestAStreamIsATenantsForEver(t *testing.T) {
	t.Parallel()
	if got := audit.Stream("acme"); got != "audit-9bb46b06-0d63-5327-89b7-2130c38212e5" || got == audit.Stream("globex") {
		t.Errorf("got %s", got)
	}
	if uuid.Validate(audit.Stream("")[len("audit-"):]) != nil {
		t.Error("not <noun>-<uuid>")
	}
}
