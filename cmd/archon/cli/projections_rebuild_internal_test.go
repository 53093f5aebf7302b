package cli

import (
	"bytes"
	"testing"
	"time"

	"github.com/archonhq/archon/projections"
)

// What a person sees who waits for a rebuild: a bar that moves on a terminal, lines elsewhere, an estimate where there is one.
func TestMeterTellsHowFarARebuildIs(t *testing.T) {
	t.Parallel()

	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	steps := []struct {
		progress projections.Progress
		after    time.Duration
	}{
		{projections.Progress{Tenants: 2, Position: 1000, Head: 5000}, 0},
		{projections.Progress{Tenants: 1, Position: 3000, Head: 5000}, 2 * time.Second},
		{projections.Progress{Tenants: 0, Position: 5000, Head: 5000}, 4 * time.Second},
	}

	for _, test := range []struct {
		bar  bool
		want string
	}{
		{false, "keys  20 %, 1000 of 5000 events, 2 tenants to go\n" +
			"keys  60 %, 3000 of 5000 events, 1 tenants to go, 1000 events/s, about 2s left\n" +
			"keys 100 %, 5000 of 5000 events, 0 tenants to go, 1000 events/s, about 0s left\n"},
		{true, "\r\x1b[Kkeys [####....................]  20 %, 1000 of 5000 events, 2 tenants to go" +
			"\r\x1b[Kkeys [##############..........]  60 %, 3000 of 5000 events, 1 tenants to go, 1000 events/s, about 2s left" +
			"\r\x1b[Kkeys [########################] 100 %, 5000 of 5000 events, 0 tenants to go, 1000 events/s, about 0s left\n"},
	} {
		var out bytes.Buffer

		m := newMeter(&out, "keys")
		if m.bar {
			t.Error("a buffer is no terminal")
		}

		m.bar = test.bar
		for _, step := range steps {
			m.show(step.progress, start.Add(step.after))
		}

		m.end()

		if out.String() != test.want {
			t.Errorf("bar %v: got %q, want %q", test.bar, out.String(), test.want)
		}
	}
}
