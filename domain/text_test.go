package domain_test

import (
	"strings"
	"testing"

	"github.com/archonhq/archon/domain"
)

func TestWhatIsWrongWithATextIsSaid(t *testing.T) {
	t.Parallel()
	const empty, long, control = "must not be empty", "must be at most 5 characters long", "must not contain control characters"
	for text, want := range map[string][2]string{
		"": {"", empty}, " \t": {control, empty}, "  ": {"", empty}, "Zürich": {long, long}, "Basel": {"", ""}, "a\nb": {control, control},
		strings.Repeat("🙂", 5): {"", ""}, strings.Repeat("🙂", 6): {long, long},
	} {
		if got := [2]string{domain.TextProblem(text, 5), domain.NameProblem(text, 5)}; got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
