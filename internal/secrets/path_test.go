package secrets_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/archonhq/archon/internal/secrets"
)

func TestProviderPath(t *testing.T) {
	t.Parallel()

	if got, want := secrets.ProviderPath("acme", "0198"), "tenants/acme/providers/0198"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Whatever is accepted must be harmless as a file name and in a URL.
func FuzzValidatePath(f *testing.F) {
	for _, seed := range []string{"a", "a/b.c-d_E/9", "../a", "a//b", "a..b", ".a", "a@", "a%2e", "\x00", strings.Repeat("a/", 40)} {
		f.Add(seed)
	}

	f.Fuzz(func(t *testing.T, path string) {
		if secrets.ValidatePath(path) != nil {
			return
		}

		switch {
		case path == "" || len(path) > secrets.MaxPathBytes:
			t.Errorf("accepted a path of %d bytes", len(path))
		case filepath.Clean(path) != path || filepath.IsAbs(path) || !filepath.IsLocal(path):
			t.Errorf("accepted %q, which is not a clean local path", path)
		case strings.ContainsAny(path, "@%?#\\ \x00") || strings.Contains(path, ".."):
			t.Errorf("accepted %q", path)
		}
	})
}
