package timezone_test

import (
	"errors"
	"testing"
	"time"

	"github.com/archonhq/archon/internal/timezone"
)

func TestLoad(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Chatham"} {
		location, err := timezone.Load(name)
		if err != nil || location.String() != name {
			t.Errorf("%s: %v, %v", name, location, err)
		}
	}
	for _, name := range []string{"", "Local", "localtime", "Europe/Atlantis", "right/Europe/Berlin", "posix/UTC", "../etc/passwd", "/etc/localtime", "Europe\\Berlin", "Europe/Berlin\x00"} {
		if _, err := timezone.Load(name); !errors.Is(err, timezone.ErrUnknown) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestDaylightSavingIsKnown(t *testing.T) {
	t.Parallel()
	berlin, err := timezone.Load("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	if day := time.Date(2026, 3, 30, 0, 0, 0, 0, berlin).Sub(time.Date(2026, 3, 29, 0, 0, 0, 0, berlin)); day != 23*time.Hour {
		t.Errorf("29 March 2026 is %s long", day)
	}
}
